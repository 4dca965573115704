"""Messages of a stream: requests in, whose chunks are not copied by reading them; answers out, joined once."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping

from google.protobuf import duration_pb2
from google.protobuf.message import DecodeError

from gradserve.v1 import gradient_service_pb2 as service
from gradserve.v1 import tensor_pb2
from gradserve_server.common.errors import Problem, Reason
from gradserve_server.front.kinds import KINDS, Kind
from gradserve_server.front.wire import LENGTH_DELIMITED, IrregularError, fields, header

CHUNK_BYTES = 1 << 20

_Request, _Response, _Chunk = service.StreamRequest, service.StreamResponse, tensor_pb2.Chunk
_REQUEST_NUMBERS = {one.number: name for name, one in _Request.DESCRIPTOR.fields_by_name.items()}
_BY_PART = {kind.part: kind for kind in KINDS}


@dataclasses.dataclass(frozen=True)
class Chunk:
    """Some of an attachment, as `Chunk` of the contract has it."""

    attachment: int
    offset: int
    data: memoryview


@dataclasses.dataclass(frozen=True)
class Part:
    """A message from the caller.

    Attributes:
        request_id: of the request that it is about.
        opens: kind and bytes of the request that it opens; None where it opens none.
        chunk: some of an attachment.
        cancels: whether it gives the request up.
        timeout: with what opens a request, seconds that its answer is worth waiting for.
    """

    request_id: int
    opens: tuple[Kind, bytes] | None
    chunk: Chunk | None
    cancels: bool
    timeout: float | None


def read_part(content: bytes) -> Part:
    """The part in `content`.

    Raises:
        Problem: it is no such message, or holds what is not known or not served here.
    """
    view = memoryview(content)
    found: dict[str, memoryview | int] = {}
    try:
        for number, kind, start, end in fields(view, 0, len(view)):
            name = _REQUEST_NUMBERS.get(number)
            if name is None:
                raise Problem(
                    Reason.UNKNOWN_FIELD,
                    f"this server does not know the field of number {number}",
                    given=f"field {number} of StreamRequest",
                    hint="The caller may be newer than the server.",
                )
            found[name] = view[start:end] if kind == LENGTH_DELIMITED else start
        chunk = found.get("chunk")
        request_id = found.get("request_id", 0)
        parts = [name for name in found if name in _PARTS]
        if not isinstance(request_id, int) or not 1 <= request_id < 1 << 63 or len(parts) != 1:
            raise Problem(
                Reason.MALFORMED_REQUEST,
                "a message of a stream has a request's number, from 1, and one part",
                given=f"request_id {request_id}, {', '.join(parts) or 'no part'}",
            )
        return Part(
            request_id,
            _opened(parts[0], found[parts[0]]),
            read_chunk(chunk) if isinstance(chunk, memoryview) else None,
            "cancel" in found,
            _timeout(found.get("timeout")),
        )
    except IrregularError:
        raise Problem(
            Reason.MALFORMED_REQUEST, "the bytes are no StreamRequest", given=f"{len(content)} bytes"
        ) from None


_PARTS = {one.name for one in _Request.DESCRIPTOR.oneofs_by_name["part"].fields}


def _opened(part: str, content: memoryview | int) -> tuple[Kind, bytes] | None:
    if part in {"chunk", "cancel"}:
        return None
    kind = _BY_PART.get(part)
    if kind is None:
        raise Problem(Reason.NOT_IMPLEMENTED_YET, f"'{part}' is not served over a stream yet", field=part)
    if isinstance(content, int):
        raise IrregularError("a message that is a number")
    return kind, bytes(content)


def _timeout(content: memoryview | int | None) -> float | None:
    if content is None:
        return None
    try:
        duration = duration_pb2.Duration.FromString(bytes(content) if isinstance(content, memoryview) else b"\xff")
    except DecodeError:
        raise IrregularError("no duration") from None
    return max(0.0, duration.seconds + duration.nanos * 1e-9)


def read_chunk(content: memoryview) -> Chunk:
    """The chunk in `content`, its data a view.

    Raises:
        IrregularError: it is none.
    """
    attachment = offset = 0
    data = content[:0]
    for number, kind, start, end in fields(content, 0, len(content)):
        if number == _Chunk.DATA_FIELD_NUMBER and kind == LENGTH_DELIMITED:
            data = content[start:end]
        elif number == _Chunk.ATTACHMENT_FIELD_NUMBER and kind == 0:
            attachment = start
        elif number == _Chunk.OFFSET_FIELD_NUMBER and kind == 0:
            offset = start
        else:
            raise Problem(
                Reason.UNKNOWN_FIELD,
                f"this server does not know the field of number {number}",
                given=f"field {number} of Chunk",
            )
    return Chunk(attachment, offset, data)


def answer(request_id: int, part: str, content: bytes) -> bytes:
    """The message that holds a serialized answer."""
    number = _Response.DESCRIPTOR.fields_by_name[part].number
    return b"".join((_head(request_id), header(number, len(content)), content))


def chunks(request_id: int, attachments: Mapping[int, memoryview]) -> Iterator[bytes]:
    """The messages that hold the attachments of an answer."""
    head = _head(request_id)
    for number, data in attachments.items():
        for offset in range(0, len(data), CHUNK_BYTES):
            piece = data[offset : offset + CHUNK_BYTES]
            chunk = _Chunk(attachment=number, offset=offset).SerializeToString()
            chunk += header(_Chunk.DATA_FIELD_NUMBER, len(piece))
            lead = header(_Response.CHUNK_FIELD_NUMBER, len(chunk) + len(piece))
            yield b"".join((head, lead, chunk, piece))


def _head(request_id: int) -> bytes:
    return _Response(request_id=request_id).SerializeToString()

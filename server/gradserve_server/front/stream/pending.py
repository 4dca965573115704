"""A request of a stream, from what opens it until all of its attachments are whole."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, final

from google.protobuf.message import Message

from gradserve.v1 import tensor_pb2
from gradserve_server.common.budget import Budget, Purpose, Reservation
from gradserve_server.common.errors import Problem, Reason
from gradserve_server.front.kinds import Kind
from gradserve_server.front.stream.parts import Chunk
from gradserve_server.worker.interface import Region


@final
class Pending:
    """One request and its memory. It is the engine's view of its caller as well.

    Attributes:
        request_id: its number on the stream.
        kind: which call it is.
        content: the serialized request.
        request: the same as a message; None where nothing follows it.
        request_bytes: of the request and its attachments; reserved.
        started: when it was opened.
        identity: of its stream.
    """

    def __init__(self, request_id: int, kind: Kind, content: bytes, timeout: float | None, identity: int = 0) -> None:
        self.request_id = request_id
        self.kind = kind
        self.content = content
        self.request: Message | None = None
        self.request_bytes = len(content)
        self.started = time.perf_counter()
        self.identity = identity
        self._deadline = None if timeout is None else time.monotonic() + timeout
        self._cancelled = threading.Event()
        self._reservations: list[Reservation] = []
        self._regions: dict[int, Region] = {}
        self._received: dict[int, int] = {}
        self._sizes: dict[int, int] = {}
        self._missing = 0
        self._lock = threading.Lock()
        self._is_open = True

    def reserve(self, budget: Budget) -> None:
        """Takes the bytes of the request itself."""
        self._reservations.append(budget.reserve((Purpose.REQUESTS, len(self.content))))

    def expect(self, request: Message, budget: Budget, region: Callable[[int], Region]) -> None:
        """Makes room for the attachments that `request` names.

        Raises:
            Problem: they are not numbered well, or there is no room.
        """
        self.request = request
        for one, field in attachments_of(request):
            if one.number < 1 or one.number in self._sizes:
                raise Problem(
                    Reason.INVALID_VALUE,
                    "attachments have numbers of their own, from 1",
                    field=f"{field}.number",
                    given=str(one.number),
                )
            if one.size_bytes < 0:
                raise Problem(
                    Reason.INVALID_VALUE, "not a size", field=f"{field}.size_bytes", given=str(one.size_bytes)
                )
            self._sizes[one.number] = one.size_bytes
        total = sum(self._sizes.values())
        self._reservations.append(budget.reserve((Purpose.BLOCKS, total)))
        self.request_bytes += total
        for number, size in self._sizes.items():
            self._regions[number] = region(size)
            self._received[number] = 0
        self._missing = sum(1 for size in self._sizes.values() if size)

    def take(self, chunk: Chunk) -> None:
        """Copies a chunk to where the run takes it from.

        Raises:
            Problem: it does not follow the one before it, or is of no attachment of this request.
        """
        region = self._regions.get(chunk.attachment)
        if region is None:
            raise Problem(
                Reason.INVALID_VALUE,
                "the request has no such attachment",
                field="chunk.attachment",
                given=str(chunk.attachment),
                expected=", ".join(str(one) for one in self._sizes) or "none",
            )
        received, size = self._received[chunk.attachment], self._sizes[chunk.attachment]
        if chunk.offset != received:
            raise Problem(
                Reason.INVALID_VALUE,
                "pieces of an attachment follow each other",
                field="chunk.offset",
                given=str(chunk.offset),
                expected=str(received),
            )
        end = received + len(chunk.data)
        if end > size:
            raise Problem(
                Reason.INVALID_VALUE,
                "more bytes than were announced",
                field="chunk.data",
                given=f"{end} bytes",
                expected=f"{size} bytes",
            )
        with self._lock:
            if not self._is_open:
                return
            region.memory[received:end] = chunk.data
        self._received[chunk.attachment] = end
        if end == size and len(chunk.data):
            self._missing -= 1

    @property
    def is_whole(self) -> bool:
        """Whether nothing is missing."""
        return not self._missing

    @property
    def attachments(self) -> dict[int, memoryview]:
        """The bytes of each attachment, by number."""
        return {number: region.memory[: self._sizes[number]] for number, region in self._regions.items()}

    def cancel(self) -> None:
        """Gives it up: it does not run any more, if it does not run already."""
        self._cancelled.set()

    @property
    def seconds_left(self) -> float | None:
        """Until its answer is worth nothing; None for no end."""
        return None if self._deadline is None else self._deadline - time.monotonic()

    def check(self) -> None:
        """Raises a `Problem` if it was given up, or its time has passed."""
        if self._cancelled.is_set():
            raise Problem(Reason.CANCELLED, "the caller gave the request up")
        left = self.seconds_left
        if left is not None and left <= 0:
            raise Problem(Reason.DEADLINE_EXPIRED, "the deadline passed before the request could run")

    def compiling(self) -> None:
        """A stream has no way to tell."""

    def close(self) -> None:
        """Gives all memory back; a second time does nothing."""
        with self._lock:
            self._is_open = False
            for region in self._regions.values():
                region.close()
        for reservation in self._reservations:
            reservation.close()


def attachments_of(message: Any, field: str = "") -> Iterator[tuple[tensor_pb2.Attachment, str]]:
    """The attachments that a request names, and their places in it; a network has none."""
    for descriptor, value in message.ListFields():
        if descriptor.message_type is None or descriptor.name == "network":
            continue
        place = f"{field}.{descriptor.name}" if field else descriptor.name
        if descriptor.message_type.GetOptions().map_entry:
            if descriptor.message_type.fields_by_name["value"].message_type is not None:
                for key, one in value.items():
                    yield from attachments_of(one, f"{place}.{key}")
        elif descriptor.is_repeated:
            for index, one in enumerate(value):
                yield from attachments_of(one, f"{place}[{index}]")
        elif descriptor.message_type is tensor_pb2.Attachment.DESCRIPTOR:
            yield value, place
        else:
            yield from attachments_of(value, place)

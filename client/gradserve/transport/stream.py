"""The stream to a server: calls with large tensors from any number of threads over one connection."""

from __future__ import annotations

import collections
import itertools
import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar, cast, final

import grpc
import numpy as np
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message

from gradserve.errors import ClientClosed, DeadlineExceeded, GradserveError, ServerFault, Unavailable
from gradserve.requests import Streamed
from gradserve.transport.channel import SERVICE
from gradserve.transport.status import DETAILS_KEY, to_error
from gradserve.v1 import gradient_service_pb2 as service_pb2
from gradserve.v1 import tensor_pb2
from gradserve.wire import field, read_varint, varint

CHUNK_BYTES = 1 << 20

Answer = TypeVar("Answer")
_Request, _Response, _Chunk = service_pb2.StreamRequest, service_pb2.StreamResponse, tensor_pb2.Chunk
_NUMBER_TAG = varint(_Response.REQUEST_ID_FIELD_NUMBER << 3)
_CHUNK_TAG = varint(_Response.CHUNK_FIELD_NUMBER << 3 | 2)
_DATA_TAG = _Chunk.DATA_FIELD_NUMBER << 3 | 2
_CODES = {code.value[0]: code for code in grpc.StatusCode}


class StreamsUnknown(Exception):
    """The server has no streams."""


@final
class _Waiting:
    """A call that has been sent, until its answer is whole."""

    def __init__(self, call: Streamed[Any], on_done: Callable[[], None] | None) -> None:
        self.call = call
        self.done = threading.Event()
        self._on_done = on_done
        self.error: Exception | None = None
        self.answer: Any = None
        self.attachments: dict[int, memoryview] = {}
        self._missing = 0

    def begin(self, answer: Message) -> None:
        """The answer itself."""
        if not isinstance(answer, self.call.answer):
            raise TypeError(f"a {type(answer).__name__}")
        self.answer = answer
        for one in _attachments_of(self.answer):
            self.attachments[one.number] = memoryview(np.empty(one.size_bytes, np.uint8))  # type: ignore[arg-type]
            self._missing += one.size_bytes
        if not self._missing:
            self._finish()

    def take(self, attachment: int, offset: int, data: memoryview) -> None:
        """Some of an attachment."""
        self.attachments[attachment][offset : offset + len(data)] = data
        self._missing -= len(data)
        if self._missing <= 0:
            self._finish()

    def fail(self, error: Exception) -> None:
        """There will be no answer."""
        self.error = error
        self._finish()

    def _finish(self) -> None:
        self.done.set()
        if self._on_done is not None:
            self._on_done()


@final
class Stream:
    """One stream of a client; opened by the first call, and again when it has ended. Thread-safe."""

    def __init__(self, channel: grpc.Channel, metadata: tuple[tuple[str, str], ...]) -> None:
        self._method: Any = channel.stream_stream(SERVICE + "Stream")
        self._metadata = metadata
        self._lock = threading.Lock()
        self._open: _Connection | None = None
        self._is_closed = False

    def ask(
        self, call: Streamed[Answer], method: str, timeout: float | None, on_wait: Callable[[], None] | None
    ) -> Answer:
        """Sends the call and waits for its answer.

        Args:
            call: the call.
            method: its name, for errors.
            timeout: seconds; None waits for as long as it takes.
            on_wait: called once if there is no answer within a second.

        Raises:
            StreamsUnknown: the server has none.
            GradserveError: the call failed.
        """
        asked = self.begin(call, method, timeout)
        patience = first_patience(timeout)
        if not asked.done.wait(patience):
            if on_wait is not None:
                on_wait()
            if not asked.done.wait(None if timeout is None else timeout - patience):
                raise asked.overdue()
        return asked.result()

    def begin(
        self, call: Streamed[Answer], method: str, timeout: float | None, on_done: Callable[[], None] | None = None
    ) -> Asked[Answer]:
        """Sends the call.

        Args:
            call: the call.
            method: its name, for errors.
            timeout: seconds that the server is told; who waits sees to them.
            on_done: called on another thread once there is an answer or an error; maybe more than once.

        Raises:
            ClientClosed: there is no stream any more.
        """
        connection = self._connection()
        waiting = _Waiting(call, on_done)
        return Asked(self, connection, waiting, connection.start(waiting, timeout), method)

    def close(self) -> None:
        """Ends the stream; calls under way fail with it."""
        with self._lock:
            self._is_closed = True
            connection, self._open = self._open, None
        if connection is not None:
            connection.close()

    def _connection(self) -> _Connection:
        with self._lock:
            if self._is_closed:
                raise ClientClosed("the client is closed")
            if self._open is None or not self._open.takes_calls:
                self._open = _Connection(self._method, self._metadata)
            return self._open

    def broken(self, error: grpc.RpcError, method: str) -> Exception:
        """What it means to a call that the stream ended so."""
        failed = cast("grpc.Call", error)
        if self._is_closed:
            return ClientClosed("the client is closed")
        if failed.code() is grpc.StatusCode.UNIMPLEMENTED:
            return StreamsUnknown()
        return to_error(failed.code(), failed.details(), failed.trailing_metadata(), method)


@final
class Asked(Generic[Answer]):
    """A call that was sent over a stream.

    Attributes:
        done: set once there is an answer or an error.
    """

    def __init__(self, stream: Stream, connection: _Connection, waiting: _Waiting, number: int, method: str) -> None:
        self.done = waiting.done
        self._stream = stream
        self._connection = connection
        self._waiting = waiting
        self._number = number
        self._method = method

    def cancel(self) -> None:
        """Gives it up."""
        self._connection.cancel(self._number)

    def overdue(self) -> DeadlineExceeded:
        """Gives it up; what to raise then."""
        self.cancel()
        return DeadlineExceeded(f"{self._method}: no answer within the timeout", code="DEADLINE_EXCEEDED")

    def result(self) -> Answer:
        """The answer, once it is done.

        Raises:
            StreamsUnknown: the server has none.
            GradserveError: the call failed.
        """
        waiting = self._waiting
        if waiting.error is not None:
            if isinstance(waiting.error, grpc.RpcError):
                raise self._stream.broken(waiting.error, self._method)
            raise waiting.error
        answer: Answer = waiting.call.read(waiting.answer, waiting.attachments)
        return answer


def first_patience(timeout: float | None) -> float:
    """Seconds after which a call that has no answer is worth a word."""
    return 1.0 if timeout is None else min(1.0, timeout)


@final
class _Connection:
    """One opened stream."""

    def __init__(self, method: Any, metadata: tuple[tuple[str, str], ...]) -> None:
        self.takes_calls = True
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._waiting: dict[int, _Waiting] = {}
        self._outgoing: queue.SimpleQueue[Iterator[bytes] | None] = queue.SimpleQueue()
        self._call = method(self._send(), metadata=metadata)
        threading.Thread(target=self._receive, name="gradserve-stream", daemon=True).start()

    def start(self, waiting: _Waiting, timeout: float | None) -> int:
        """Sends a call; gives its number."""
        with self._lock:
            number = next(self._numbers)
            if not self.takes_calls:
                waiting.fail(Unavailable("the stream has ended", code="UNAVAILABLE"))
                return number
            self._waiting[number] = waiting
        self._outgoing.put(_messages(number, waiting.call, timeout))
        return number

    def cancel(self, number: int) -> None:
        """Gives a call up."""
        with self._lock:
            self._waiting.pop(number, None)
        self._outgoing.put(iter([_Request(request_id=number, cancel={}).SerializeToString()]))

    def close(self) -> None:
        """Ends it at once."""
        self.takes_calls = False
        self._outgoing.put(None)
        self._call.cancel()

    def _send(self) -> Iterator[bytes]:
        """What gRPC sends: the messages of all calls by turns, so that a large one does not hold up the others."""
        turns: collections.deque[Iterator[bytes]] = collections.deque()
        while True:
            try:
                while True:
                    messages = self._outgoing.get(block=not turns)
                    if messages is None:
                        return
                    turns.append(messages)
            except queue.Empty:
                pass
            first = turns.popleft()
            message = next(first, None)
            if message is not None:
                turns.append(first)
                yield message

    def _receive(self) -> None:
        error: Exception = Unavailable("the stream has ended", code="UNAVAILABLE")
        try:
            for content in self._call:
                chunk = _chunk(content)
                if chunk is None:
                    self._take(_Response.FromString(content))
                    continue
                number, attachment, offset, data = chunk
                one = self._waiting.get(number)
                if one is not None:
                    one.take(attachment, offset, data)
                    self._settle(number, one)
        except grpc.RpcError as broken:
            error = broken
        except Exception as broken:  # noqa: BLE001 (told to all who wait)
            error = ServerFault(f"the server's answers make no sense: {broken}")
            self._call.cancel()
        with self._lock:
            self.takes_calls = False
            waiting, self._waiting = self._waiting, {}
        self._outgoing.put(None)
        for one in waiting.values():
            one.fail(error)

    def _take(self, received: service_pb2.StreamResponse) -> None:
        part = received.WhichOneof("part")
        if part == "going_away":
            with self._lock:
                self.takes_calls = False
                is_idle = not self._waiting
            if is_idle:
                self._outgoing.put(None)
            return
        waiting = self._waiting.get(received.request_id)
        if waiting is None or part is None:
            return
        if part == "failure":
            waiting.fail(_failure(received.failure))
        else:
            waiting.begin(getattr(received, part))
        self._settle(received.request_id, waiting)

    def _settle(self, number: int, waiting: _Waiting) -> None:
        """Lets go of a call that is done."""
        if waiting.done.is_set():
            with self._lock:
                self._waiting.pop(number, None)
                is_last = not self.takes_calls and not self._waiting
            if is_last:
                self._outgoing.put(None)


def _chunk(content: bytes) -> tuple[int, int, int, memoryview] | None:
    """Number of the call, number of the attachment, offset and data of a chunk; None where it is another message.

    Read by hand, since the runtime would copy the data twice.
    """
    number, place = read_varint(content, 1) if content[:1] == _NUMBER_TAG else (0, 0)
    if not content.startswith(_CHUNK_TAG, place):
        return None
    attachment = offset = 0
    _, place = read_varint(content, place + len(_CHUNK_TAG))
    while place < len(content):
        tag, place = read_varint(content, place)
        value, place = read_varint(content, place)
        if tag == _DATA_TAG:
            return number, attachment, offset, memoryview(content)[place : place + value]
        if tag >> 3 == _Chunk.ATTACHMENT_FIELD_NUMBER:
            attachment = value
        else:
            offset = value
    return number, attachment, offset, memoryview(b"")


def _failure(failure: service_pb2.Failure) -> GradserveError:
    code = _CODES.get(failure.code, grpc.StatusCode.UNKNOWN)
    return to_error(code, failure.message, ((DETAILS_KEY, failure.status),), failure.reason)


def _messages(number: int, call: Streamed[Any], timeout: float | None) -> Iterator[bytes]:
    """A call as the messages of a stream; made one by one as they are sent."""
    head = _Request(request_id=number)
    if timeout is not None:
        head.timeout.CopyFrom(Duration())
        head.timeout.FromNanoseconds(int(timeout * 1e9))
    place = _Request.DESCRIPTOR.fields_by_name[call.part].number
    yield b"".join((head.SerializeToString(), field(place, len(call.opening)), call.opening))
    lead = _Request(request_id=number).SerializeToString()
    for attachment, array in enumerate(call.attached, 1):
        data = array.reshape(-1).view(np.uint8).data
        for offset in range(0, len(data), CHUNK_BYTES):
            piece = data[offset : offset + CHUNK_BYTES]
            chunk = _Chunk(attachment=attachment, offset=offset).SerializeToString()
            chunk += field(_Chunk.DATA_FIELD_NUMBER, len(piece))
            yield b"".join((lead, field(_Request.CHUNK_FIELD_NUMBER, len(chunk) + len(piece)), chunk, piece))


def _attachments_of(message: Any) -> Iterator[tensor_pb2.Attachment]:
    for descriptor, value in message.ListFields():
        if descriptor.message_type is None:
            continue
        if descriptor.message_type is tensor_pb2.Attachment.DESCRIPTOR:
            yield value
        elif descriptor.message_type.GetOptions().map_entry:
            if descriptor.message_type.fields_by_name["value"].message_type is not None:
                for one in value.values():
                    yield from _attachments_of(one)
        elif not descriptor.is_repeated:
            yield from _attachments_of(value)

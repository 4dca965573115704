"""Streams on a real socket: what is whole is answered, what fails fails alone, and nothing stays behind."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator

import grpc
import numpy as np
import pytest
from google.protobuf.duration_pb2 import Duration

from gradserve.v1 import gradient_service_pb2 as service
from gradserve.v1 import tensor_pb2
from gradserve_server.front.forms import ATTACHED_BYTES
from tests.unit.front.scaling_worker import ScalingWorker, gradients_request
from tests.unit.front.test_service import Front, front

STREAM = "/gradserve.v1.GradientService/Stream"
Sent = service.StreamRequest
Received = service.StreamResponse


class Stream:
    """The caller's end."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._outgoing: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self.call = channel.stream_stream(STREAM)(iter(self._outgoing.get, None), timeout=20)

    def send(self, message: Sent | bytes) -> None:
        self._outgoing.put(message if isinstance(message, bytes) else message.SerializeToString())

    def end(self) -> None:
        self._outgoing.put(None)

    def __next__(self) -> Received:
        return Received.FromString(next(self.call))

    def __iter__(self) -> Iterator[Received]:
        return (Received.FromString(one) for one in self.call)

    def failure(self) -> tuple[int, str]:
        """Number and reason of the failure that comes next."""
        received = next(self)
        assert received.WhichOneof("part") == "failure", received
        return received.request_id, received.failure.reason


@pytest.fixture
def worker() -> ScalingWorker:
    return ScalingWorker()


@pytest.fixture
def served(worker: ScalingWorker) -> Iterator[Front]:
    with front(worker, memory_budget=64 << 20) as one:
        yield one


@pytest.fixture
def stream(served: Front) -> Iterator[Stream]:
    one = Stream(served.channel)
    yield one
    one.end()
    one.call.cancel()
    assert served.used() == 0


def opening(number: int, x: np.ndarray, timeout: float | None = None) -> Sent:
    """A request whose x follows as attachment 7."""
    request = gradients_request()
    request.batch["x"].Clear()
    request.batch["x"].data_type = tensor_pb2.DATA_TYPE_FLOAT32
    request.batch["x"].shape.extend(x.shape)
    request.batch["x"].attachment.number = 7
    request.batch["x"].attachment.size_bytes = x.nbytes
    sent = Sent(request_id=number, compute_gradients=request)
    if timeout is not None:
        sent.timeout.CopyFrom(Duration(nanos=int(timeout * 1e9)))
    return sent


def chunk(number: int, data: bytes, offset: int = 0, attachment: int = 7) -> Sent:
    return Sent(request_id=number, chunk=tensor_pb2.Chunk(attachment=attachment, offset=offset, data=data))


def plain(number: int, x: object = (1.0, 2.0)) -> Sent:
    return Sent(request_id=number, compute_gradients=gradients_request(x))


def test_requests_without_attachments_are_answered_each_under_its_number(stream: Stream) -> None:
    for number in range(1, 21):
        stream.send(plain(number, (number, 0.0)))
    stream.end()
    assert {one.request_id: one.compute_gradients.loss for one in stream} == {
        number: 3.0 * number for number in range(1, 21)
    }


def test_attachments_may_interleave_and_answers_overtake(stream: Stream) -> None:
    x = {number: np.arange(3 + number, dtype=np.float32) for number in (1, 2)}
    for number, values in x.items():
        stream.send(opening(number, values))
    for offset in range(0, 20, 4):
        for number in (2, 1):
            if piece := x[number].tobytes()[offset : offset + 4]:
                stream.send(chunk(number, piece, offset))
    stream.send(plain(3))
    answers = {one.request_id: one.compute_gradients.loss for one in (next(stream), next(stream), next(stream))}
    assert answers == {1: 3.0 * x[1].sum(), 2: 3.0 * x[2].sum(), 3: 9.0}


def test_large_tensors_of_an_answer_follow_in_chunks(stream: Stream) -> None:
    x = np.random.default_rng(0).standard_normal(ATTACHED_BYTES).astype(np.float32)
    stream.send(opening(5, x))
    stream.send(chunk(5, x.tobytes()))
    head = next(stream).compute_gradients
    attached = {"input": head.input_gradients["x"].attachment, "output": head.outputs["y"].attachment}
    assert head.tensors.by_name["w"].WhichOneof("content") == "data"
    parts: dict[int, bytes] = {one.number: b"" for one in attached.values()}
    while any(len(parts[one.number]) < one.size_bytes for one in attached.values()):
        received = next(stream)
        assert received.request_id == 5
        assert received.chunk.offset == len(parts[received.chunk.attachment])
        parts[received.chunk.attachment] += received.chunk.data
    np.testing.assert_array_equal(np.frombuffer(parts[attached["output"].number], np.float32), 3 * x)
    np.testing.assert_array_equal(np.frombuffer(parts[attached["input"].number], np.float32), np.full_like(x, 3))


X = np.arange(4, dtype=np.float32)
FAILURES: dict[str, tuple[Callable[[Stream], object], str]] = {
    "no loss": (lambda one: one.send(Sent(request_id=9, compute_gradients={})), "MISSING_FIELD"),
    "a gap": (lambda one: (one.send(opening(9, X)), one.send(chunk(9, b"1234", 4))), "INVALID_VALUE"),
    "too many bytes": (lambda one: (one.send(opening(9, X)), one.send(chunk(9, b"1" * 17))), "INVALID_VALUE"),
    "another attachment": (lambda one: (one.send(opening(9, X)), one.send(chunk(9, b"", 0, 8))), "INVALID_VALUE"),
    "given up": (lambda one: (one.send(opening(9, X)), one.send(Sent(request_id=9, cancel={}))), "CANCELLED"),
    "never whole": (lambda one: one.send(opening(9, X, timeout=0.05)), "DEADLINE_EXPIRED"),
    "more than there is": (
        lambda one: one.send(opening(9, np.broadcast_to(np.float32(0), (1 << 25,)))),
        "MEMORY_LIMIT",
    ),
}


@pytest.mark.parametrize("kind", FAILURES)
def test_a_failure_ends_its_request_and_not_the_stream(stream: Stream, kind: str) -> None:
    cause, reason = FAILURES[kind]
    cause(stream)
    assert stream.failure() == (9, reason)
    # What is still on its way when a request fails is nobody's fault.
    stream.send(chunk(9, b"1234"))
    stream.send(plain(10))
    assert next(stream).compute_gradients.loss == 9.0


def unknown_field() -> bytes:
    return plain(1).SerializeToString() + b"\xfa\x7f\x01x"


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (chunk(3, b"1234"), grpc.StatusCode.INVALID_ARGUMENT),
        (Sent(request_id=3), grpc.StatusCode.INVALID_ARGUMENT),
        (Sent(request_id=0, compute_gradients={}), grpc.StatusCode.INVALID_ARGUMENT),
        (b"\xff\xff\xff", grpc.StatusCode.INVALID_ARGUMENT),
        (b"\x0b", grpc.StatusCode.INVALID_ARGUMENT),
        (unknown_field(), grpc.StatusCode.UNIMPLEMENTED),
    ],
)
def test_what_belongs_to_no_request_ends_the_stream(
    stream: Stream, message: Sent | bytes, code: grpc.StatusCode
) -> None:
    stream.send(message)
    with pytest.raises(grpc.RpcError) as caught:
        next(stream)
    assert caught.value.code() is code  # type: ignore[attr-defined]


def test_a_number_is_used_once(stream: Stream) -> None:
    stream.send(opening(1, X))
    stream.send(opening(1, X))
    assert stream.failure() == (1, "CANCELLED")
    with pytest.raises(grpc.RpcError) as caught:
        next(stream)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT  # type: ignore[attr-defined]


def test_what_was_cancelled_before_its_turn_does_not_run(worker: ScalingWorker) -> None:
    begun, go = threading.Event(), threading.Event()

    def hold(call: str) -> None:
        if call == "run":
            begun.set()
            assert go.wait(10)

    held = ScalingWorker(before=hold)
    with front(held, threads=1) as served:
        stream = Stream(served.channel)
        stream.send(plain(1))
        assert begun.wait(10)
        stream.send(plain(2))
        stream.send(Sent(request_id=2, cancel={}))
        time.sleep(0.1)
        go.set()
        received = [next(stream), next(stream)]
        assert received[0].compute_gradients.loss == 9.0
        assert (received[1].request_id, received[1].failure.reason) == (2, "CANCELLED")
        assert held.calls.count("run") == 1
        stream.end()
        assert list(stream) == []


def test_an_abandoned_stream_leaves_nothing_behind(served: Front) -> None:
    threads = threading.active_count()
    for _ in range(5):
        stream = Stream(served.channel)
        stream.send(opening(1, X))
        stream.send(chunk(1, b"1234"))
        stream.send(plain(2))
        assert next(stream).request_id == 2
        stream.call.cancel()
    assert served.used() == 0
    deadline = time.monotonic() + 10
    while threading.active_count() > threads + 8 and time.monotonic() < deadline:
        time.sleep(0.05)
    names = [one.name for one in threading.enumerate()]
    assert not [name for name in names if name.startswith("stream-")], names


def test_a_server_that_stops_says_so_and_answers_what_is_under_way(worker: ScalingWorker) -> None:
    with front(worker) as served:
        stream = Stream(served.channel)
        stream.send(plain(1))
        assert next(stream).request_id == 1
        served.server.stop(1.0)
        going = next(stream)
        assert going.WhichOneof("part") == "going_away"
        assert going.going_away.grace.ToTimedelta().total_seconds() == 1.0
        stream.send(plain(2))
        assert next(stream).compute_gradients.loss == 9.0
        with pytest.raises(grpc.RpcError) as caught:
            next(stream)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE  # type: ignore[attr-defined]

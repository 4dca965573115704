"""Every hostile network gets a clear error from a real server, which reads no files, stays up and grows no larger."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import grpc
import numpy as np
import onnx
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

import gradserve as gs
from gradserve.v1 import gradient_service_pb2 as service
from gradserve.v1 import network_pb2, tensor_pb2
from tests.e2e.hostile import onnx_kinds, stablehlo_kinds
from tests.e2e.hostile.kinds import Kind
from tests.e2e.hostile.watch import Watch
from tests.e2e.test_supervision import workers_of

METHOD = "/gradserve.v1.GradientService/ComputeGradients"
KINDS = [*onnx_kinds.KINDS, *stablehlo_kinds.KINDS]
NAMES = [
    f"{of}: {kind.name}" for of, some in (("ONNX", onnx_kinds), ("StableHLO", stablehlo_kinds)) for kind in some.KINDS
]
# No kind may hold up others: not even on a machine that does much else.
SECONDS = 20.0

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks at processes and files as Linux shows them")


@dataclasses.dataclass(frozen=True)
class Answer:
    """What came back, and how long it took."""

    code: str
    reason: str
    message: str
    facts: Mapping[str, str]
    seconds: float


@dataclasses.dataclass(frozen=True)
class Record:
    """What became of a server that was sent everything: bytes of memory and worker processes before and after."""

    answers: Mapping[Kind, Answer]
    memory: tuple[int, int]
    workers: tuple[list[int], list[int]]
    touched: list[str]
    last: service.ComputeGradientsResponse


def tensor(array: np.ndarray) -> tensor_pb2.Tensor:
    return tensor_pb2.Tensor(data_type=tensor_pb2.DATA_TYPE_FLOAT32, shape=array.shape, data=array.tobytes())


def request(network: network_pb2.NetworkDefinition) -> bytes:
    """Gradients of the sum of what `network` gives for ones."""
    asked = service.ComputeGradientsRequest(network=network)
    asked.loss.output.SetInParent()
    asked.loss.reduction = asked.loss.REDUCTION_SUM
    of_jax = network.WhichOneof("source") == "stablehlo"
    asked.batch["x"].CopyFrom(tensor(np.ones((2, 4 if of_jax else 2), "float32")))
    if of_jax:
        asked.weights.tensors.by_name["a"].CopyFrom(tensor(np.ones(4, "float32")))
    return asked.SerializeToString()


def honest() -> Iterator[network_pb2.NetworkDefinition]:
    """Small networks, and as large ones as a server of this kind takes: what it frees, it keeps for the next."""
    yield onnx_kinds.sent(onnx_kinds.model(onnx_kinds.GOOD))
    yield network_pb2.NetworkDefinition(stablehlo=stablehlo_kinds.honest())
    text = onnx_kinds.text(onnx_kinds.GOOD)
    yield network_pb2.NetworkDefinition(onnx_text=text + " " * (15 << 20))
    large = onnx.ModelProto.FromString(onnx_kinds.model(onnx_kinds.GOOD))
    large.graph.initializer.append(onnx.numpy_helper.from_array(np.zeros(4 << 20, "int64"), "unused"))
    yield onnx_kinds.sent(large.SerializeToString())


def answer(call: grpc.UnaryUnaryMultiCallable[bytes, bytes], kind: Kind) -> Answer:
    content = request(kind.network())
    start = time.perf_counter()
    try:
        call(content, timeout=60)
    except grpc.RpcError as error:
        seconds = time.perf_counter() - start
        status = rpc_status.from_call(error)  # type: ignore[arg-type]
        info = error_details_pb2.ErrorInfo()
        for detail in status.details if status else ():
            if detail.Is(info.DESCRIPTOR):
                detail.Unpack(info)
        code = error.code().name  # type: ignore[attr-defined]
        message = error.details()  # type: ignore[attr-defined]
        return Answer(code, info.reason, message, dict(info.metadata), seconds)
    return Answer("OK", "", "", {}, time.perf_counter() - start)


def memory_of(*processes: int) -> int:
    """Bytes that are in use by processes."""
    statuses = [Path(f"/proc/{one}/status").read_text() for one in processes]
    return sum(int(text.partition("VmRSS:")[2].split()[0]) << 10 for text in statuses)


def front_of(client: gs.Client) -> int:
    """The process that serves `client`."""
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if client.address.encode() in (entry / "cmdline").read_bytes():
                return int(entry.name)
    raise AssertionError("no such process")


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Record]:
    """All kinds, one after the other, at one server, in whose folder and above lie files that models name."""
    above = tmp_path_factory.mktemp("above")
    folder, temporary = above / "a" / "b", above / "temporary"
    for one in (folder, temporary):
        one.mkdir(parents=True)
    for one in (above, folder):
        (one / "weights.bin").write_bytes(bytes(8))
    with contextlib.ExitStack() as stack:
        with contextlib.chdir(folder):
            client = stack.enter_context(gs.local(max_nodes=5000, environment={"TMPDIR": str(temporary)}))
        options = [("grpc.max_send_message_length", -1)]
        channel = stack.enter_context(grpc.insecure_channel(client.address, options=options))
        call = channel.unary_unary(METHOD)
        for _ in range(2):
            for network in honest():
                call(request(network))
        front = front_of(client)
        workers = workers_of(front)
        memory = memory_of(front, *workers)
        with Watch(above, folder, temporary) as watch:
            answers = {kind: answer(call, kind) for kind in KINDS}
            touched = watch.seen()
            (folder / "weights.bin").read_bytes()
            assert str(folder / "weights.bin") in watch.seen()
        after = workers_of(front)
        last = service.ComputeGradientsResponse.FromString(call(request(next(honest()))))
        yield Record(answers, (memory, memory_of(front, *after)), (workers, after), touched, last)


@pytest.mark.parametrize("kind", KINDS, ids=NAMES)
def test_each_kind_gets_its_own_error(record: Record, kind: Kind) -> None:
    given = record.answers[kind]
    assert (given.code, given.reason) == (kind.code, kind.reason), given
    assert kind.words in given.message
    assert given.facts["field"].startswith(kind.field)
    assert sum(map(len, given.facts.values())) < 4000
    assert given.seconds < SECONDS


def test_there_are_at_least_forty_kinds() -> None:
    assert len(set(NAMES)) == len(NAMES) >= 40


def test_nothing_is_read_from_the_disk_or_written_to_it(record: Record) -> None:
    assert record.touched == []


def test_the_worker_lives_and_its_memory_is_where_it_was(record: Record) -> None:
    before, after = record.workers
    assert before == after
    assert record.memory[1] <= 1.1 * record.memory[0], [one >> 20 for one in record.memory]


def test_the_server_still_answers(record: Record) -> None:
    assert record.last.loss == 6
    np.testing.assert_array_equal(np.frombuffer(record.last.tensors.by_name["w"].data, "float32"), [2, 2])

"""The front on a real socket, before a worker of NumPy: answers, refusals, memory, and workers that die."""

from __future__ import annotations

import dataclasses
import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import grpc
import numpy as np
import pytest
from google.protobuf.internal import encoder
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_status import rpc_status

from gradserve.v1 import gradient_service_pb2 as service
from gradserve_server.common.budget import Purpose
from gradserve_server.common.config import Settings
from gradserve_server.common.metrics import Metrics
from gradserve_server.front.engine import Engine
from gradserve_server.front.server import Server
from gradserve_server.front.tensors import read_safetensors, read_tensor
from gradserve_server.worker.interface import WorkerDied
from tests.unit.front.scaling_worker import ScalingWorker, gradients_request, tensor

COMPUTE = "/gradserve.v1.GradientService/ComputeGradients"
Request = service.ComputeGradientsRequest


@dataclasses.dataclass
class Front:
    engine: Engine
    metrics: Metrics
    channel: grpc.Channel
    server: Server

    def compute(self, request: Request | bytes, timeout: float = 20) -> service.ComputeGradientsResponse:
        content = request if isinstance(request, bytes) else request.SerializeToString()
        return service.ComputeGradientsResponse.FromString(self.channel.unary_unary(COMPUTE)(content, timeout=timeout))

    def refusal(self, request: Request | bytes) -> tuple[str, error_details_pb2.ErrorInfo]:
        with pytest.raises(grpc.RpcError) as caught:
            self.compute(request)
        status = rpc_status.from_call(caught.value)
        info = error_details_pb2.ErrorInfo()
        assert status is not None
        assert status.details[0].Unpack(info)
        return caught.value.code().name, info  # type: ignore[attr-defined]

    def count(self, code: str) -> float:
        labels = {"method": "ComputeGradients", "code": code}
        return self.metrics.registry.get_sample_value("gradserve_requests_total", labels) or 0.0

    def used(self) -> int:
        """Bytes that are reserved, but for the store, once the last answer's thread is done with it."""
        budget = self.engine.budget
        deadline = time.monotonic() + 5
        while (used := budget.used - budget.used_by(Purpose.STORE)) and time.monotonic() < deadline:
            time.sleep(0.01)
        return used


@contextmanager
def front(worker: ScalingWorker, **settings: object) -> Iterator[Front]:
    given = {"address": "127.0.0.1:0", "threads": 8, **settings}
    chosen = Settings(**given)  # type: ignore[arg-type]
    metrics = Metrics()
    engine = Engine(chosen, worker, metrics)
    server = Server(chosen, engine, metrics)
    server.start()
    server.ready()
    try:
        with grpc.insecure_channel(server.address) as channel:
            yield Front(engine, metrics, channel, server)
    finally:
        server.stop(0).wait(10)
        server.close()


@pytest.fixture
def plain() -> Iterator[Front]:
    with front(ScalingWorker()) as one:
        yield one


def test_an_answer_holds_what_the_worker_gave(plain: Front) -> None:
    answer = plain.compute(gradients_request())
    assert answer.loss == 9.0
    assert answer.summary.finite
    assert answer.summary.global_norm == answer.summary.norms["w"] == 3.0
    assert read_tensor(answer.tensors.by_name["w"], "w") == 3.0
    np.testing.assert_array_equal(read_tensor(answer.input_gradients["x"], "x"), [3.0, 3.0])
    np.testing.assert_array_equal(read_tensor(answer.outputs["y"], "y"), [3.0, 6.0])
    assert answer.timing.execute.ToTimedelta().total_seconds() == 0.25
    assert (answer.timing.batched_requests, answer.timing.padded_examples) == (1, 2)


def test_gradients_come_as_a_file_if_asked_for(plain: Front) -> None:
    request = gradients_request()
    request.gradients.as_safetensors = True
    answer = plain.compute(request)
    assert answer.WhichOneof("gradients") == "safetensors"
    assert read_safetensors(answer.safetensors, "")["w"] == 3.0


def test_equal_requests_with_other_numbers_get_their_own_answers(plain: Front) -> None:
    # However the front remembers requests, it must never mistake one for another.
    for step in range(4):
        request = gradients_request((step, 1.0))
        request.weights.tensors.by_name["w"].CopyFrom(tensor(step + 2.0))
        request.options.seed = step
        answer = plain.compute(request)
        assert answer.loss == (step + 2.0) * (step + 1.0)
        assert read_tensor(answer.tensors.by_name["w"], "w") == step + 1.0


def test_what_is_wrong_is_found_after_requests_that_were_right(plain: Front) -> None:
    request = gradients_request()
    for _ in range(3):
        plain.compute(request)
    for change, reason in (
        (lambda one: one.batch["x"].MergeFromString(encoder.TagBytes(999, 0) + b"\1"), "UNKNOWN_FIELD"),
        (lambda one: one.gradients.MergeFromString(encoder.TagBytes(999, 0) + b"\1"), "UNKNOWN_FIELD"),
        (lambda one: setattr(one.batch["x"], "data_type", 77), "UNKNOWN_FIELD"),
        (lambda one: one.batch["x"].shape.__setitem__(0, 3), "INVALID_TENSOR"),
        (lambda one: one.shared.append("z"), "UNKNOWN_NAME"),
    ):
        wrong = Request()
        wrong.CopyFrom(request)
        change(wrong)
        assert plain.refusal(wrong)[1].reason == reason
    assert plain.compute(request).loss == 9.0


def test_a_program_is_compiled_once_and_the_caller_is_told(plain: Front) -> None:
    call = plain.channel.unary_unary(COMPUTE)
    told = []
    for _ in range(2):
        answer, rpc = call.with_call(gradients_request().SerializeToString(), timeout=20)
        told.append(dict(rpc.initial_metadata()).get("gradserve-compiling"))
        compiled = service.ComputeGradientsResponse.FromString(answer).timing.compile.ToTimedelta().total_seconds()
        assert (compiled > 0) == (told[-1] == "1")
    assert told == ["1", None]


ATTACHED: list[tuple[str, Callable[[Request], object]]] = [
    ("weights.attachment", lambda one: one.weights.attachment.SetInParent()),
    ("batch.x.attachment", lambda one: one.batch["x"].attachment.SetInParent()),
]


@pytest.mark.parametrize(("field", "ask"), ATTACHED)
def test_attachments_are_refused_where_nothing_can_follow(
    plain: Front, field: str, ask: Callable[[Request], object]
) -> None:
    request = gradients_request()
    ask(request)
    code, info = plain.refusal(request)
    assert (code, info.metadata["field"], info.reason) == ("INVALID_ARGUMENT", field, "INVALID_TENSOR")


@pytest.mark.parametrize("clip", [-1.0, float("nan"), float("inf")])
def test_a_norm_that_is_none_is_refused(plain: Front, clip: float) -> None:
    request = gradients_request()
    request.gradients.clip_global_norm = clip
    code, info = plain.refusal(request)
    assert (code, info.reason) == ("INVALID_ARGUMENT", "INVALID_VALUE")
    assert info.metadata["field"] == "gradients.clip_global_norm"


@pytest.mark.parametrize("field", ["network", "loss"])
def test_definitions_are_bounded_apart_from_tensors(field: str) -> None:
    request = gradients_request(np.zeros(2000))
    with front(ScalingWorker(), max_definition_bytes=2048) as one:
        one.compute(request)
        if field == "network":
            request.network.serialized_graph = bytes(2049)
        else:
            request.loss.output.prediction = "p" * 2049
        code, info = one.refusal(request)
    assert (code, info.reason) == ("RESOURCE_EXHAUSTED", "TOO_LARGE")
    assert int(info.metadata["needed_bytes"]) > int(info.metadata["limit_bytes"]) == 2048


def test_bytes_that_are_no_message_are_the_callers_fault(plain: Front) -> None:
    code, info = plain.refusal(b"\xff\xff")
    assert (code, info.reason) == ("INVALID_ARGUMENT", "MALFORMED_REQUEST")
    assert plain.count("INVALID_ARGUMENT") == 1


def test_long_names_of_many_bytes_do_not_cost_the_details(plain: Front) -> None:
    request = gradients_request()
    request.shared.append("\U0001f600" * 5000)
    for _ in range(20):  # gRPC drops what is a little too much at random
        assert plain.refusal(request)[1].reason == "UNKNOWN_NAME"


def test_a_request_that_never_fits_is_refused_for_good() -> None:
    # Each part fits into 64 MiB, all together do not: no waiting helps.
    with front(ScalingWorker(peak_bytes=60 << 20), memory_budget=64 << 20) as one:
        code, info = one.refusal(gradients_request(np.zeros(1 << 19)))
        assert (code, info.reason) == ("RESOURCE_EXHAUSTED", "MEMORY_LIMIT")
        assert int(info.metadata["needed_bytes"]) > int(info.metadata["limit_bytes"]) == 64 << 20
        assert one.used() == 0


def test_a_request_that_would_fit_later_is_told_when() -> None:
    with front(ScalingWorker(peak_bytes=60 << 20), memory_budget=64 << 20) as one:
        with one.engine.budget.reserve((Purpose.BLOCKS, 10 << 20)), pytest.raises(grpc.RpcError) as caught:
            one.compute(gradients_request())
        status = rpc_status.from_call(caught.value)
        delay = error_details_pb2.RetryInfo()
        assert status is not None
        assert status.details[-1].Unpack(delay)
        assert delay.retry_delay.ToTimedelta().total_seconds() > 0
        assert one.compute(gradients_request()).loss == 9.0
        assert one.used() == 0


def dying(*calls: str) -> Callable[[str], None]:
    """Dies in these calls, in their order, and in no others."""
    left = list(calls)

    def before(call: str) -> None:
        if left and left[0] == call:
            left.pop(0)
            raise WorkerDied("killed")

    return before


@pytest.mark.parametrize("deaths", [("run", "run"), ("prepare", "prepare"), ("prepare", "run")])
def test_a_request_outlives_two_deaths_of_its_worker(deaths: tuple[str, ...]) -> None:
    with front(ScalingWorker(before=dying(*deaths))) as one:
        assert one.compute(gradients_request()).loss == 9.0
        assert one.used() == 0


@pytest.mark.parametrize(
    "deaths", [("run",) * 9, ("prepare",) * 9, ("prepare", "run", "prepare", "run"), ("prepare", "prepare", "run")]
)
def test_the_third_death_ends_the_request_whatever_it_was_in(deaths: tuple[str, ...]) -> None:
    died = []
    die = dying(*deaths)

    def before(call: str) -> None:
        try:
            die(call)
        except WorkerDied:
            died.append(call)
            raise

    with front(ScalingWorker(before=before)) as one:
        code, info = one.refusal(gradients_request())
        assert (code, info.reason) == ("INTERNAL", "WORKER_CRASHED")
        assert died == list(deaths[:3])
        assert one.used() == 0


def test_a_program_that_the_worker_has_dropped_is_prepared_again() -> None:
    worker = ScalingWorker()
    with front(worker) as one:
        one.compute(gradients_request())
        worker.held.clear()
        assert one.compute(gradients_request()).loss == 9.0
    assert worker.calls == ["prepare", "run", "run", "prepare", "run"]


def test_a_program_that_is_dropped_again_and_again_is_no_crash() -> None:
    worker = ScalingWorker(before=lambda call: worker.held.clear() if call == "run" else None)
    with front(worker) as one:
        code, info = one.refusal(gradients_request())
    assert (code, info.reason) == ("RESOURCE_EXHAUSTED", "OVERLOADED")


def test_a_fault_is_logged_under_a_number_and_kept_from_the_caller(caplog: pytest.LogCaptureFixture) -> None:
    def fail(call: str) -> None:
        if call == "run":
            raise RuntimeError("secret of the inside")

    logger = logging.getLogger("gradserve_server")
    with caplog.at_level(logging.ERROR, logger.name), front(ScalingWorker(before=fail)) as one:
        logger.addHandler(caplog.handler)
        try:
            with pytest.raises(grpc.RpcError) as caught:
                one.compute(gradients_request())
        finally:
            logger.removeHandler(caplog.handler)
        assert one.used() == 0
    status = rpc_status.from_call(caught.value)
    info = error_details_pb2.ErrorInfo()
    assert status is not None
    assert status.details[0].Unpack(info)
    assert "secret" not in str(status) + str(caught.value)
    logged = [one for one in caplog.records if getattr(one, "request_id", "") == info.metadata["request_id"]]
    assert logged
    assert "secret of the inside" in str(logged[0].exc_info)


def test_a_request_whose_deadline_has_passed_does_not_run() -> None:
    worker = ScalingWorker(before=lambda call: time.sleep(0.5) if call == "prepare" else None)
    with front(worker) as one:
        with pytest.raises(grpc.RpcError) as caught:
            one.compute(gradients_request(), timeout=0.2)
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED  # type: ignore[attr-defined]
        assert one.used() == 0
    assert worker.calls == ["prepare"]


def test_a_request_that_was_given_up_does_not_run() -> None:
    preparing = threading.Event()
    given_up = threading.Event()

    def before(call: str) -> None:
        if call == "prepare":
            preparing.set()
            assert given_up.wait(10)
            time.sleep(0.2)

    worker = ScalingWorker(before=before)
    with front(worker) as one:
        call = one.channel.unary_unary(COMPUTE).future(gradients_request().SerializeToString())
        assert preparing.wait(10)
        call.cancel()
        given_up.set()
        assert one.used() == 0
    assert worker.calls == ["prepare"]


def test_health_answers_while_every_thread_is_busy() -> None:
    free = threading.Event()

    def before(call: str) -> None:
        if call == "run":
            free.wait(20)

    with front(ScalingWorker(before=before), threads=1) as one, ThreadPoolExecutor(3) as pool:
        calls = [pool.submit(one.compute, gradients_request()) for _ in range(3)]
        try:
            health = health_pb2_grpc.HealthStub(one.channel)
            status = health.Check(health_pb2.HealthCheckRequest(), timeout=5).status
            assert status == health_pb2.HealthCheckResponse.SERVING
        finally:
            free.set()
        assert [call.result(20).loss for call in calls] == [9.0] * 3


def test_describe_initialize_and_info_pass_on_what_the_worker_says() -> None:
    with front(ScalingWorker(), max_nodes=77) as one:

        def call(name: str, request: bytes) -> bytes:
            found: bytes = one.channel.unary_unary(f"/gradserve.v1.GradientService/{name}")(request, timeout=20)
            return found

        network = gradients_request().network
        asked = service.DescribeNetworkRequest(network=network).SerializeToString()
        described = service.DescribeNetworkResponse.FromString(call("DescribeNetwork", asked))
        assert described.parameter_count == 1
        # What `printf 'w x' | sha256sum` prints.
        assert described.digest.hash == "0ead84bac5cd9a457abab106b681f402c027f9940e168a18df8ea6f69ca7c0e2"
        assert described.digest.size_bytes == 3
        asked = service.InitializeWeightsRequest(network=network, seed=7).SerializeToString()
        initialized = service.InitializeWeightsResponse.FromString(call("InitializeWeights", asked))
        assert initialized.safetensors == b"w x\7"
        info = service.GetServerInfoResponse.FromString(call("GetServerInfo", b""))
        assert (info.platform, list(info.devices), info.limits["max_nodes"]) == ("numpy", ["cpu:0"], 77)
        assert {"numpy", "grpcio"} <= set(info.versions)

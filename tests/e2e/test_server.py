"""`gradserve serve` as a platform sees it: health, reflection, metrics, settings, stopping."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import json_format, message_factory
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

Status = health_pb2.HealthCheckResponse
SERVICE = "gradserve.v1.GradientService"


class Serving:
    """A server's process, and what its log has said so far."""

    def __init__(self, *flags: str, **variables: str) -> None:
        command = [sys.executable, "-m", "gradserve.cli", "serve", "--address", "127.0.0.1:0", *flags]
        environment = {"GRADSERVE_METRICS_ADDRESS": "", **os.environ, **variables}
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, env=environment, text=True)
        self.events: list[dict[str, Any]] = []

    def until(self, event: str) -> dict[str, Any]:
        """Reads the log up to this event."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.events.append(json.loads(line))
            if self.events[-1]["event"] == event:
                return self.events[-1]
        raise AssertionError(f"the server ended without '{event}': {self.events}")

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stderr is not None
        self.process.stderr.close()


@pytest.fixture(scope="module")
def serving() -> Iterator[Serving]:
    one = Serving("--metrics-address", "127.0.0.1:0")
    yield one
    one.end()


@pytest.fixture(scope="module")
def channel(serving: Serving) -> Iterator[grpc.Channel]:
    address = serving.until("listening")["address"]
    with grpc.insecure_channel(address) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        first = health.Check(health_pb2.HealthCheckRequest(), wait_for_ready=True).status
        # The worker takes a second to load JAX; health answers before it is there.
        assert first == Status.NOT_SERVING
        serving.until("serving")
        yield channel


def test_health_says_serving_once_the_worker_is_ready(channel: grpc.Channel) -> None:
    health = health_pb2_grpc.HealthStub(channel)
    for name in ("", SERVICE):
        assert health.Check(health_pb2.HealthCheckRequest(service=name)).status == Status.SERVING
    with pytest.raises(grpc.RpcError) as caught:
        health.Check(health_pb2.HealthCheckRequest(service="nobody"))
    assert caught.value.code() == grpc.StatusCode.NOT_FOUND  # type: ignore[attr-defined]


def readme_request() -> str:
    """The request that the README sends with a generic client."""
    text = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    return text.split("grpcurl -plaintext -d '", 1)[1].split("'", 1)[0]


def test_a_generic_client_computes_gradients_by_reflection_alone(channel: grpc.Channel) -> None:
    database = ProtoReflectionDescriptorDatabase(channel)
    assert SERVICE in database.get_services()
    method = DescriptorPool(database).FindServiceByName(SERVICE).FindMethodByName("ComputeGradients")
    request = json_format.Parse(readme_request(), message_factory.GetMessageClass(method.input_type)())
    answer_type = message_factory.GetMessageClass(method.output_type)
    answer: Any = answer_type.FromString(
        channel.unary_unary(f"/{SERVICE}/ComputeGradients")(request.SerializeToString())
    )
    # (w x - y)^2 at w = 3, x = 2, y = 5: 1, and its derivative 2 (w x - y) x = 4.
    assert answer.loss == 1.0
    assert answer.tensors.by_name["w"].data == b"\x00\x00\x80\x40"


def test_metrics_count_calls_by_method_and_code_and_time_their_phases(serving: Serving, channel: grpc.Channel) -> None:
    with pytest.raises(grpc.RpcError):
        channel.unary_unary(f"/{SERVICE}/Forward")(b"\xff")
    address = next(event["metrics_address"] for event in serving.events if event["event"] == "listening")
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=10) as response:
        text = response.read().decode()
    assert 'gradserve_requests_total{code="INVALID_ARGUMENT",method="Forward"} 1.0' in text
    assert 'gradserve_request_seconds_count{method="Forward",phase="total"} 1.0' in text
    assert 'gradserve_memory_bytes{purpose="blocks"} 0.0' in text


@pytest.mark.parametrize("method", ["gradserve.v1.TrainingService/Train"])
def test_streams_that_are_not_served_yet_say_so_by_name(channel: grpc.Channel, method: str) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        list(channel.stream_stream(f"/{method}")(iter(())))
    assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED  # type: ignore[attr-defined]
    assert method.rpartition("/")[2] in caught.value.details()  # type: ignore[attr-defined]


def test_the_front_holds_no_jax_and_the_worker_does(serving: Serving, channel: grpc.Channel) -> None:
    front = serving.process.pid
    (worker,) = Path(f"/proc/{front}/task/{front}/children").read_text().split() or _children(front)
    assert "jaxlib" not in Path(f"/proc/{front}/maps").read_text()
    assert "jaxlib" in Path(f"/proc/{worker}/maps").read_text()


def _children(pid: int) -> list[str]:
    """Children of all of a process's threads."""
    return " ".join((task / "children").read_text() for task in Path(f"/proc/{pid}/task").iterdir()).split()


def test_a_second_server_at_the_same_address_is_refused(serving: Serving, channel: grpc.Channel) -> None:
    address = next(event["address"] for event in serving.events if event["event"] == "listening")
    command = [sys.executable, "-m", "gradserve_server", "--address", address, "--metrics-address", ""]
    second = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert second.returncode == 1
    assert address in second.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_the_server_and_its_worker_cleanly(number: int) -> None:
    one = Serving("--isolation", "process", GRADSERVE_LOG_LEVEL="info", GRADSERVE_DRAIN_SECONDS="2")
    try:
        one.until("serving")
        worker = _children(one.process.pid)[0]
        one.process.send_signal(number)
        one.until("stopped")
        assert one.process.wait(20) == 0
        deadline = time.monotonic() + 10
        while Path(f"/proc/{worker}").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not Path(f"/proc/{worker}").exists()
    finally:
        one.end()


def test_settings_are_checked_and_explained() -> None:
    def run(*flags: str, **variables: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "gradserve_server", *flags]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, env={**os.environ, **variables})

    assert "--memory-budget" in run("--help").stdout
    wrong = run(GRADSERVE_CONCURRENCY="none")
    assert wrong.returncode == 2
    assert "--concurrency" in wrong.stderr
    assert run("--no-such-flag", "1").returncode == 2

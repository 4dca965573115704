"""A client, two servers that forget at random, and a balancer that moves it from one to the other."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import numpy as np
import pytest

import gradserve as gs
from gradserve.held import SMALLEST_NETWORK, address_of
from gradserve.v1 import gradient_service_pb2 as service
from gradserve_server.front.artifacts.store import Digest
from tests.unit.front.scaling_worker import ScalingWorker
from tests.unit.front.test_service import Front, front


class Balancer(grpc.GenericRpcHandler):
    """Passes calls on to the replica of the moment, and tells of what a replica was sent that it held."""

    def __init__(self, replicas: list[Front]) -> None:
        self.replicas = replicas
        self.moment = 0
        self.asked = 0
        self.wasted: list[str] = []

    def service(self, details: Any) -> grpc.RpcMethodHandler[Any, Any]:
        if details.method.endswith("/Upload"):
            return grpc.stream_unary_rpc_method_handler(
                lambda messages, context: self.passed("stream_unary", details.method, messages, context)
            )
        return grpc.unary_unary_rpc_method_handler(
            lambda message, context: self.passed("unary_unary", details.method, message, context)
        )

    def passed(self, kind: str, method: str, message: Any, context: grpc.ServicerContext) -> bytes:
        replica = self.replicas[self.moment]
        if method.endswith("/ComputeGradients"):
            self.note(replica, service.ComputeGradientsRequest.FromString(message))
        try:
            return bytes(getattr(replica.channel, kind)(method)(message, timeout=20))
        except grpc.RpcError as error:
            context.set_trailing_metadata(error.trailing_metadata())  # type: ignore[attr-defined]
            context.abort(error.code(), error.details())  # type: ignore[attr-defined]

    def note(self, replica: Front, request: service.ComputeGradientsRequest) -> None:
        self.asked += 1
        if request.weights.HasField("tensors") and holds(replica, WEIGHTS.digest, WEIGHTS.size_bytes):
            self.wasted.append("weights")
        if not request.network.HasField("digest") and self.asked > 1 and holds_network(replica):
            self.wasted.append("network")


# Large enough to be named by digest.
NETWORK = gs.Network.imported("onnx_text", b"w x" + b" " * SMALLEST_NETWORK)
WEIGHTS = gs.held.hold({"w": np.array(3.0, np.float32)})
BATCH = {"x": np.array([2.0], np.float32)}


def holds(replica: Front, hash_: str, size: int) -> bool:
    return replica.engine.store.find("", Digest(hash_, size)) is not None


def holds_network(replica: Front) -> bool:
    address = address_of(NETWORK)
    return holds(replica, address.hash, address.size_bytes)


@pytest.fixture
def balancer() -> Iterator[tuple[Balancer, str]]:
    with front(ScalingWorker()) as first, front(ScalingWorker()) as second:
        balancer = Balancer([first, second])
        server = grpc.server(ThreadPoolExecutor(4))
        server.add_generic_rpc_handlers([balancer])
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        try:
            yield balancer, f"127.0.0.1:{port}"
        finally:
            server.stop(0).wait(10)


def test_a_client_never_fails_and_never_sends_what_is_held(balancer: tuple[Balancer, str]) -> None:
    between, address = balancer
    random = np.random.default_rng(0)
    network = address_of(NETWORK)
    content = [Digest(WEIGHTS.digest, WEIGHTS.size_bytes), Digest(network.hash, network.size_bytes)]
    with gs.Client(address, timeout=60) as client:
        held = client.put({"w": np.array(3.0, np.float32)})
        assert held.digest == WEIGHTS.digest
        for _ in range(80):
            between.moment = int(random.integers(2))
            for replica in between.replicas:
                for one in content:
                    if random.random() < 0.2:
                        replica.engine.store.forget("", one)
            result = client.gradients(NETWORK, held, BATCH, loss=gs.output_loss())
            assert result.loss == 6.0
    assert between.asked > 100  # some were asked again
    assert not between.wasted

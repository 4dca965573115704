"""The contract's calls as gRPC handlers: bytes in, bytes out, every failure a status with details."""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Callable, Iterator
from typing import Any, final

import grpc
from google.protobuf.message import Message

from gradserve.v1 import artifact_service_pb2, gradient_service_pb2, training_service_pb2
from gradserve_server.common.budget import Purpose
from gradserve_server.common.errors import Problem, Reason
from gradserve_server.common.metrics import Metrics
from gradserve_server.front.artifacts.service import artifact_handlers
from gradserve_server.front.convert import parse
from gradserve_server.front.engine import Engine
from gradserve_server.front.kinds import KINDS
from gradserve_server.front.status import abort, fault
from gradserve_server.front.stream.session import Sessions

_LOGGER = logging.getLogger("gradserve_server.front")
_COMPILING = (("gradserve-compiling", "1"),)

SERVICES = (
    gradient_service_pb2.DESCRIPTOR.services_by_name["GradientService"],
    artifact_service_pb2.DESCRIPTOR.services_by_name["ArtifactService"],
    training_service_pb2.DESCRIPTOR.services_by_name["TrainingService"],
)


@final
class _Caller:
    """The engine's view of a call."""

    def __init__(self, context: grpc.ServicerContext, request_bytes: int) -> None:
        self.request_bytes = request_bytes
        self._context = context
        self._told = False

    @property
    def identity(self) -> str:
        return self._context.peer()

    def check(self) -> None:
        remaining: float | None = self._context.time_remaining()
        if remaining is not None and remaining <= 0:
            raise Problem(Reason.DEADLINE_EXPIRED, "the deadline passed before the request could run")
        if not self._context.is_active():
            raise _cancelled()

    def compiling(self) -> None:
        if not self._told:
            self._told = True
            try:
                self._context.send_initial_metadata(_COMPILING)
            except grpc.RpcError:
                # The caller gave up since the last check.
                raise _cancelled() from None


def _cancelled() -> Problem:
    return Problem(Reason.CANCELLED, "the caller gave the request up")


def handlers(engine: Engine, metrics: Metrics, sessions: Sessions) -> list[grpc.GenericRpcHandler]:
    """Handlers of all calls of the contract. Those not served yet answer so, by name."""
    served: dict[str, Callable[[bytes, _Caller], bytes]] = {
        **{kind.method: functools.partial(engine.compute, kind) for kind in KINDS},
        "DescribeNetwork": _parsed(gradient_service_pb2.DescribeNetworkRequest, engine.describe_network),
        "InitializeWeights": _parsed(gradient_service_pb2.InitializeWeightsRequest, engine.initialize_weights),
        "GetServerInfo": _parsed(gradient_service_pb2.GetServerInfoRequest, engine.get_server_info),
    }
    artifacts = artifact_handlers(engine.store, metrics)
    found = []
    for description in SERVICES:
        methods = {}
        for method in description.methods:
            if method.name in artifacts:
                methods[method.name] = artifacts[method.name]
            elif method.name == "Stream":
                methods[method.name] = _stream(sessions)
            elif method.name in served:
                methods[method.name] = _unary(method.name, served[method.name], engine, metrics)
            else:
                methods[method.name] = _later(f"{description.name}.{method.name}", method, metrics)
        found.append(grpc.method_handlers_generic_handler(description.full_name, methods))
    return found


def _parsed(kind: type[Message], function: Callable[[Any, _Caller], Message]) -> Callable[[bytes, _Caller], bytes]:
    """`function` of messages as a function of bytes."""
    return lambda content, caller: function(parse(kind, content), caller).SerializeToString()


def _unary(
    name: str, function: Callable[[bytes, _Caller], bytes], engine: Engine, metrics: Metrics
) -> grpc.RpcMethodHandler[bytes, bytes]:
    def handle(content: bytes, context: grpc.ServicerContext) -> bytes:
        start = time.perf_counter()
        code = "OK"
        try:
            with engine.budget.reserve((Purpose.REQUESTS, len(content))):
                return function(content, _Caller(context, len(content)))
        except Problem as problem:
            code = problem.reason.code.value
            _LOGGER.info(
                "call refused", extra={"method": name, "code": code, "reason": problem.reason.name, **problem.metadata}
            )
            return abort(context, problem)  # type: ignore[no-any-return]
        except Exception as error:  # noqa: BLE001 (the last resort: logged, and answered)
            code = Reason.INTERNAL.code.value
            return abort(context, fault(name, error))  # type: ignore[no-any-return]
        finally:
            seconds = time.perf_counter() - start
            metrics.count(name, code)
            metrics.observe(name, ("total", seconds))
            if _LOGGER.isEnabledFor(logging.DEBUG):
                _LOGGER.debug("call answered", extra={"method": name, "code": code, "seconds": seconds})

    return grpc.unary_unary_rpc_method_handler(handle)


def _stream(sessions: Sessions) -> grpc.RpcMethodHandler[bytes, bytes]:
    def handle(requests: Any, context: grpc.ServicerContext, send: Any) -> None:
        sessions.start(requests, context, send)

    # A thread of the pool only starts it: streams stay open.
    handle.experimental_non_blocking = True  # type: ignore[attr-defined]
    return grpc.stream_stream_rpc_method_handler(handle)


def _later(name: str, method: Any, metrics: Metrics) -> grpc.RpcMethodHandler[bytes, bytes]:
    problem = Problem(Reason.NOT_IMPLEMENTED_YET, f"{name} is not served yet", metadata={"method": name})

    def refuse(_request: Any, context: grpc.ServicerContext) -> Any:
        metrics.count(method.name, problem.reason.code.value)
        return abort(context, problem)

    def refuse_stream(_request: Any, context: grpc.ServicerContext) -> Iterator[bytes]:
        yield refuse(_request, context)

    if method.client_streaming and method.server_streaming:
        return grpc.stream_stream_rpc_method_handler(refuse_stream)
    if method.client_streaming:
        return grpc.stream_unary_rpc_method_handler(refuse)
    if method.server_streaming:
        return grpc.unary_stream_rpc_method_handler(refuse_stream)
    return grpc.unary_unary_rpc_method_handler(refuse)

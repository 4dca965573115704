"""A real gRPC server on a real socket whose answers a test writes: for transport, not for numbers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2, status_pb2

from gradserve.v1 import gradient_service_pb2 as service_pb2

Handler = Callable[[bytes, grpc.ServicerContext], bytes]

OPTIONS = [("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", -1)]

ANSWER = service_pb2.GetServerInfoResponse(version="scripted").SerializeToString()
FORWARD = service_pb2.ForwardResponse(loss=1.0).SerializeToString()


@dataclass
class Script:
    """What the server does: the handlers in turn, the last one from then on; and what it saw."""

    handlers: list[Handler]
    address: str = ""
    requests: list[bytes] = field(default_factory=list)
    metadata: list[dict[str, Any]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def handle(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        with self.lock:
            handler = self.handlers.pop(0) if len(self.handlers) > 1 else self.handlers[0]
            self.requests.append(request)
            self.metadata.append(dict(context.invocation_metadata()))
        return handler(request, context)


class _Service(grpc.GenericRpcHandler):
    def __init__(self, script: Script) -> None:
        self._script = script

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        # A server without streams: the client finds out, and sends one message.
        if handler_call_details.method.endswith("/Stream"):
            return None
        return grpc.unary_unary_rpc_method_handler(self._script.handle)


@contextmanager
def serving(*handlers: Handler, address: str = "127.0.0.1:0") -> Iterator[Script]:
    """Serves the handlers until the end of the block."""
    script = Script(list(handlers))
    with ThreadPoolExecutor(16) as pool:
        server = grpc.server(pool, options=OPTIONS)
        server.add_generic_rpc_handlers((_Service(script),))
        port = server.add_insecure_port(address)
        script.address = address if address.startswith("unix:") else f"127.0.0.1:{port}"
        server.start()
        try:
            yield script
        finally:
            server.stop(0).wait()


def answer(content: bytes) -> Handler:
    """Answers at once."""
    return lambda _request, _context: content


def fail(code: grpc.StatusCode, message: str, *details: Any) -> Handler:
    """Fails with a google.rpc.Status."""
    status = status_pb2.Status(code=code.value[0], message=message)
    for detail in details:
        packed = AnyMessage()
        packed.Pack(detail)
        status.details.append(packed)

    def handler(_request: bytes, context: grpc.ServicerContext) -> bytes:
        context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
        context.abort(code, message)
        raise AssertionError  # abort raises

    return handler


def retry_after(seconds: float) -> error_details_pb2.RetryInfo:
    """The detail that says when to come back."""
    duration = Duration()
    duration.FromMilliseconds(int(seconds * 1000))
    return error_details_pb2.RetryInfo(retry_delay=duration)


def compiling(content: bytes, seconds: float) -> Handler:
    """Says at once that it compiles, and answers later."""

    def handler(_request: bytes, context: grpc.ServicerContext) -> bytes:
        context.send_initial_metadata((("gradserve-compiling", "1"),))
        threading.Event().wait(seconds)
        return content

    return handler


def never() -> Handler:
    """Does not answer before the call ends on the other side."""

    def handler(_request: bytes, context: grpc.ServicerContext) -> bytes:
        gone = threading.Event()
        if not context.add_callback(gone.set):
            return b""
        gone.wait(30)
        return b""

    return handler

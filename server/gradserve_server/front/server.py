"""The gRPC server: the contract's calls, health on a pool of its own, reflection."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import final

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from gradserve_server.common.config import Settings
from gradserve_server.common.metrics import Metrics
from gradserve_server.front.engine import Engine
from gradserve_server.front.service import SERVICES, handlers
from gradserve_server.front.stream.session import Sessions

_HEALTH_NAMES = ("", *(one.full_name for one in SERVICES))


class BindError(Exception):
    """The address cannot be served at."""


@final
class Server:
    """Serves from `start` on; says that it does from `ready` on.

    Attributes:
        address: where it serves, with the port that it got.
    """

    def __init__(self, settings: Settings, engine: Engine, metrics: Metrics) -> None:
        self._pool = ThreadPoolExecutor(settings.threads, thread_name_prefix="call")
        self._health_pool = ThreadPoolExecutor(2, thread_name_prefix="health")
        self._sessions = Sessions(engine, self._pool, metrics)
        self._server = grpc.server(
            self._pool,
            handlers=handlers(engine, metrics, self._sessions),
            options=[
                ("grpc.max_receive_message_length", settings.max_message_bytes),
                ("grpc.max_send_message_length", -1),
                # Else two servers would share one port in silence.
                ("grpc.so_reuseport", 0),
                ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
            ],
        )
        # A pool of its own: calls that fill theirs must not keep health from answering.
        self._health = health.HealthServicer(experimental_non_blocking=True, experimental_thread_pool=self._health_pool)
        for handler in (self._health.Check, self._health.Watch):
            handler.__func__.experimental_thread_pool = self._health_pool
        self._say(health_pb2.HealthCheckResponse.NOT_SERVING)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        names = [one.full_name for one in SERVICES]
        reflection.enable_server_reflection((*names, health.SERVICE_NAME, reflection.SERVICE_NAME), self._server)
        try:
            port = self._server.add_insecure_port(settings.address)
        except RuntimeError as error:
            raise BindError(f"cannot serve at {settings.address}: {error}") from None
        host, separator, _ = settings.address.rpartition(":")
        is_unix = settings.address.startswith("unix:")
        self.address = settings.address if is_unix or not separator else f"{host}:{port}"

    def start(self) -> None:
        """Answers calls from now on."""
        self._server.start()

    def ready(self, *, is_ready: bool = True) -> None:
        """Tells health checks whether calls would be taken up."""
        statuses = health_pb2.HealthCheckResponse
        self._say(statuses.SERVING if is_ready else statuses.NOT_SERVING)

    def stop(self, grace: float) -> threading.Event:
        """Takes no further calls; those under way may take `grace` seconds. The event is set at the end."""
        self._health.enter_graceful_shutdown()
        self._sessions.go_away(grace)
        done: threading.Event = self._server.stop(grace)
        return done

    def close(self) -> None:
        """Ends the threads, after `stop`."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._health_pool.shutdown(wait=False, cancel_futures=True)

    def _say(self, status: int) -> None:
        for name in _HEALTH_NAMES:
            self._health.set(name, status)

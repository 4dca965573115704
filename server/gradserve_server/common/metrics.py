"""What Prometheus sees."""

from __future__ import annotations

from collections.abc import Callable
from typing import final

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_BUCKETS = (0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60)
PHASES = ("convert", "queue", "compile", "execute", "answer", "total")


@final
class Metrics:
    """Counters and histograms, those of a method looked up once so that observing them is cheap."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "gradserve_requests_total", "Calls answered.", ("method", "code"), registry=self.registry
        )
        self._seconds = Histogram(
            "gradserve_request_seconds",
            "Seconds of calls, by phase.",
            ("method", "phase"),
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self._gauge = Gauge("gradserve_memory_bytes", "Bytes reserved.", ("purpose",), registry=self.registry)
        self._programs = Gauge("gradserve_programs", "Compiled programs held.", registry=self.registry)
        self._losses = Counter(
            "gradserve_worker_losses_total", "Times that the worker was lost and started again.", registry=self.registry
        )
        self._observers: dict[tuple[str, str], Callable[[float], None]] = {}
        self._counters: dict[tuple[str, str], Callable[[], None]] = {}
        prometheus_client.PlatformCollector(registry=self.registry)
        prometheus_client.ProcessCollector(registry=self.registry)

    def observe(self, method: str, phase: str, seconds: float) -> None:
        """Adds the seconds that a phase of a call took."""
        observe = self._observers.get((method, phase))
        if observe is None:
            observe = self._observers[method, phase] = self._seconds.labels(method, phase).observe
        observe(seconds)

    def count(self, method: str, code: str) -> None:
        """Counts an answer."""
        increment = self._counters.get((method, code))
        if increment is None:
            increment = self._counters[method, code] = self._requests.labels(method, code).inc
        increment()

    def count_worker_loss(self) -> None:
        """Counts the loss of a worker that was ready."""
        self._losses.inc()

    def watch_memory(self, purpose: str, used: Callable[[], float]) -> None:
        """Shows bytes reserved for a purpose, asked for whenever metrics are read."""
        self._gauge.labels(purpose).set_function(used)

    def watch_programs(self, held: Callable[[], float]) -> None:
        """Shows the number of programs held."""
        self._programs.set_function(held)

    def serve(self, address: str) -> tuple[str, Callable[[], None]]:
        """Serves ``/metrics`` at host:port; gives where, and the function that stops it."""
        host, _, port = address.rpartition(":")
        server, thread = prometheus_client.start_http_server(int(port), host or "127.0.0.1", self.registry)

        def stop() -> None:
            server.shutdown()
            server.server_close()
            thread.join(5)

        return f"{host}:{server.server_port}", stop

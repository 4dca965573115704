"""What Prometheus sees."""

from __future__ import annotations

import bisect
import itertools
import threading
from collections.abc import Callable, Iterator
from typing import final

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector

_BUCKETS = (0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60)
PHASES = ("convert", "fill", "queue", "compile", "execute", "answer", "total")


@final
class _Seconds(Collector):
    """A histogram of seconds by method and phase.

    Prometheus' own takes 5 us for each observation, and a call has five of them.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # Of each method and phase: observations in each bucket, and their sum.
        self._observed: dict[tuple[str, str], tuple[list[int], list[float]]] = {}

    def observe(self, method: str, phases: tuple[tuple[str, float], ...]) -> None:
        """Adds the seconds that phases of one call took."""
        with self._lock:
            for phase, seconds in phases:
                found = self._observed.get((method, phase))
                if found is None:
                    found = self._observed[method, phase] = ([0] * (len(_BUCKETS) + 1), [0.0])
                found[0][bisect.bisect_left(_BUCKETS, seconds)] += 1
                found[1][0] += seconds

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """What was observed, as Prometheus takes it."""
        family = HistogramMetricFamily(
            "gradserve_request_seconds", "Seconds of calls, by phase.", labels=("method", "phase")
        )
        with self._lock:
            observed = {key: (list(counts), total[0]) for key, (counts, total) in self._observed.items()}
        for key, (counts, total) in observed.items():
            buckets, sum_so_far = [], 0
            for bound, count in zip((*map(str, map(float, _BUCKETS)), "+Inf"), counts, strict=True):
                sum_so_far += count
                buckets.append((bound, float(sum_so_far)))
            family.add_metric(key, buckets, total)
        yield family


@final
class _Requests(Collector):
    """A histogram of how many requests shared a run; see `_Seconds` for why it is not Prometheus' own."""

    _SIZES = (1, 2, 4, 8, 16)

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._runs = [0] * len(self._SIZES)
        self._requests = 0

    def observe(self, requests: int) -> None:
        """Adds a run."""
        with self._lock:
            self._runs[bisect.bisect_left(self._SIZES, requests)] += 1
            self._requests += requests

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """What was observed, as Prometheus takes it."""
        with self._lock:
            runs, requests = list(itertools.accumulate(self._runs)), self._requests
        buckets = [(str(float(size)), float(count)) for size, count in zip(self._SIZES, runs, strict=True)]
        yield HistogramMetricFamily(
            "gradserve_run_requests",
            "Requests computed in one run.",
            buckets=[*buckets, ("+Inf", float(runs[-1]))],
            sum_value=float(requests),
        )


@final
class Metrics:
    """Counters and histograms, those of a method looked up once so that observing them is cheap."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "gradserve_requests_total", "Calls answered.", ("method", "code"), registry=self.registry
        )
        self._seconds = _Seconds()
        self.registry.register(self._seconds)
        self._run_requests = _Requests()
        self.registry.register(self._run_requests)
        self._gauge = Gauge("gradserve_memory_bytes", "Bytes reserved.", ("purpose",), registry=self.registry)
        self._programs = Gauge("gradserve_programs", "Compiled programs held.", registry=self.registry)
        self._compilations = Counter(
            "gradserve_compilations_total",
            "Programs compiled; batches padded to one size share one.",
            registry=self.registry,
        )
        self._losses = Counter(
            "gradserve_worker_losses_total", "Times that the worker was lost and started again.", registry=self.registry
        )
        self._counters: dict[tuple[str, str], Callable[[], None]] = {}
        prometheus_client.PlatformCollector(registry=self.registry)
        prometheus_client.ProcessCollector(registry=self.registry)

    def observe(self, method: str, *phases: tuple[str, float]) -> None:
        """Adds the seconds that phases of one call took."""
        self._seconds.observe(method, phases)

    def observe_run(self, requests: int) -> None:
        """Counts a run, with how many requests shared it."""
        self._run_requests.observe(requests)

    def count(self, method: str, code: str) -> None:
        """Counts an answer."""
        increment = self._counters.get((method, code))
        if increment is None:
            increment = self._counters[method, code] = self._requests.labels(method, code).inc
        increment()

    def count_worker_loss(self) -> None:
        """Counts the loss of a worker that was ready."""
        self._losses.inc()

    def count_compilation(self) -> None:
        """Counts a program that was compiled."""
        self._compilations.inc()

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

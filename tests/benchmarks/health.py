"""Health checks while large requests stream in.

Run as a program it is one of their callers: `python -m tests.benchmarks.health ADDRESS`. It says that it is ready, and
asks once its standard input has ended.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator

import grpc
import numpy as np
from grpc_health.v1 import health_pb2, health_pb2_grpc

import gradserve as gs
from tests.benchmarks.row import Row
from tests.benchmarks.served import served
from tests.benchmarks.workload import Workload

# 256 MB of weights.
LOAD = Workload((8000, 8000), 1)
CALLERS = 6
ROUNDS = 3
PAUSE_SECONDS = 0.005


def measure_health(only: str) -> Iterator[Row]:
    """The rows `health_under_load_p99` and `health_under_load_max`: the slowest 1 %, and the slowest of all."""
    if only not in "health_under_load_p99" and only not in "health_under_load_max":
        return
    with served("process") as client:
        LOAD.call(client, summary_only=True)
        times: list[float] = []
        for _ in range(ROUNDS):
            times += _under_load(client.address)
    yield Row("health_under_load_p99", float(np.quantile(times, 0.99)) * 1e3, "ms", 300.0, 1.0)
    yield Row("health_under_load_max", max(times) * 1e3, "ms", 1000.0, 1.0)


def _under_load(address: str) -> list[float]:
    """Seconds of each check while all callers ask at the same time."""
    command = [sys.executable, "-m", "tests.benchmarks.health", address]
    times = []
    with contextlib.ExitStack() as stack:
        callers = [
            stack.enter_context(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
            for _ in range(CALLERS)
        ]
        health = health_pb2_grpc.HealthStub(stack.enter_context(grpc.insecure_channel(address)))
        for caller in callers:
            assert caller.stdout is not None
            assert caller.stdout.readline() == "ready\n"
        for caller in callers:
            assert caller.stdin is not None
            caller.stdin.close()
        while any(caller.poll() is None for caller in callers):
            start = time.perf_counter()
            answer = health.Check(health_pb2.HealthCheckRequest())
            times.append(time.perf_counter() - start)
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
            time.sleep(PAUSE_SECONDS)
        assert all(caller.returncode == 0 for caller in callers)
    return times


def main(address: str) -> None:
    """One caller."""
    gs.keep_freed_memory()
    with gs.Client(address) as client:
        LOAD.batch  # noqa: B018 (made before the others start)
        LOAD.weights  # noqa: B018
        client.server_info()
        print("ready", flush=True)
        sys.stdin.read()
        LOAD.call(client, summary_only=True)


if __name__ == "__main__":
    main(sys.argv[1])

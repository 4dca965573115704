"""Many callers at once, each with a small request: their rate against that of a raw gRPC echo under the same callers,
and how many requests shared a run.

Run as a program it is one process of callers, which makes calls of one or the other kind as its standard input says:
`python -m tests.benchmarks.callers SERVER ECHO`.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import grpc

import gradserve as gs
from gradserve import requests
from tests.benchmarks.echo import METHOD, OPTIONS, echo_server
from tests.benchmarks.row import Row
from tests.benchmarks.served import serving
from tests.benchmarks.workload import TINY

PROCESSES = 4
THREADS = 4
SECONDS = 1.5
ROUNDS = 5


def measure_callers(only: str) -> Iterator[Row]:
    """The rows `callers_16` and `callers_16_group`."""
    if only not in "callers_16" and only not in "callers_16_group":
        return
    rates = {"gradserve": 0.0, "echo": 0.0}
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(serving("process", "--metrics-address", "127.0.0.1:0"))
        echo = stack.enter_context(echo_server(TINY.nbytes))
        callers = [stack.enter_context(_callers(server.address, echo)) for _ in range(PROCESSES)]
        # For connections, and for programs to be compiled, those of groups included.
        _together(callers, "gradserve", 3.0)
        _together(callers, "echo", 0.5)
        before = _runs(server.metrics_address)
        for _ in range(ROUNDS):
            for kind in rates:
                rates[kind] += _together(callers, kind, SECONDS) / ROUNDS
        after = _runs(server.metrics_address)
    if only in "callers_16":
        yield Row("callers_16", rates["gradserve"], "1/s", rates["echo"], 0.65, rate=True)
    shared = (after[0] - before[0]) / (after[1] - before[1])
    yield Row("callers_16_group", shared, "requests", 1.0, 3.0, rate=True)


@contextlib.contextmanager
def _callers(*addresses: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "tests.benchmarks.callers", *addresses]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        yield process
        process.stdin.close()


def _together(callers: Sequence[subprocess.Popen[str]], kind: str, seconds: float) -> float:
    """How many calls in a second all of them have had answered, asking for so long."""
    for process in callers:
        assert process.stdin is not None
        process.stdin.write(f"{kind} {seconds}\n")
        process.stdin.flush()
    return sum(float(process.stdout.readline()) for process in callers if process.stdout is not None)


def _runs(address: str) -> tuple[float, float]:
    """Requests and runs that the server has had so far."""
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=10) as response:
        lines = dict(line.rsplit(" ", 1) for line in response.read().decode().splitlines() if line[0] != "#")
    return float(lines["gradserve_run_requests_sum"]), float(lines["gradserve_run_requests_count"])


def _serve(server: str, echo: str) -> None:
    up = requests.gradients(TINY.network, TINY.weights, TINY.batch, loss=TINY.loss).message
    with gs.Client(server) as client, grpc.insecure_channel(echo, options=OPTIONS) as channel:
        wire = channel.unary_unary(METHOD)
        calls = {"gradserve": lambda: TINY.call(client), "echo": lambda: wire(up)}
        for line in sys.stdin:
            kind, seconds = line.split()
            print(_rate(calls[kind], float(seconds)), flush=True)


def _rate(call: Callable[[], Any], seconds: float) -> float:
    """Calls in a second, by all threads together."""
    counts = [0] * THREADS
    start = time.perf_counter()

    def ask(place: int) -> None:
        while time.perf_counter() - start < seconds:
            call()
            counts[place] += 1

    threads = [threading.Thread(target=ask, args=(place,)) for place in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / (time.perf_counter() - start)


if __name__ == "__main__":
    gs.keep_freed_memory()
    _serve(*sys.argv[1:])

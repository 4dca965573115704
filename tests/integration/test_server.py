"""The whole server as a process: how it ends with its input, and how it shows and mends the loss of its worker."""

from __future__ import annotations

import errno
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

Status = health_pb2.HealthCheckResponse


class Serving:
    """A server's process, read by its log."""

    def __init__(self, *flags: str) -> None:
        command = [sys.executable, "-m", "gradserve_server", "--address", "127.0.0.1:0", *flags]
        pipes = {"stdin": subprocess.PIPE, "stderr": subprocess.PIPE}
        self.process = subprocess.Popen(command, text=True, **pipes)  # type: ignore[call-overload]

    def until(self, event: str) -> dict[str, Any]:
        seen = []
        for line in self.process.stderr:
            seen.append(json.loads(line))
            if seen[-1]["event"] == event:
                return seen[-1]
        raise AssertionError(f"the server ended without '{event}': {seen}")

    def workers(self) -> list[int]:
        tasks = Path(f"/proc/{self.process.pid}/task").iterdir()
        return [int(pid) for task in tasks for pid in (task / "children").read_text().split()]


@contextmanager
def serving(*flags: str) -> Iterator[Serving]:
    one = Serving(*flags)
    try:
        yield one
    finally:
        one.process.kill()
        one.process.wait()
        for pipe in (one.process.stdin, one.process.stderr):
            pipe.close()


def is_gone(pid: int) -> bool:
    deadline = time.monotonic() + 10
    while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    return not Path(f"/proc/{pid}").exists()


def test_the_server_ends_with_its_input_if_told_to() -> None:
    with serving("--metrics-address", "", "--stop-with-stdin", "true") as one:
        one.until("serving")
        (worker,) = one.workers()
        one.process.stdin.close()
        one.until("stopped")
        assert one.process.wait(20) == 0
        assert is_gone(worker)


def test_a_lost_worker_is_seen_counted_and_replaced() -> None:
    with serving("--metrics-address", "127.0.0.1:0") as one:
        places = one.until("listening")
        one.until("serving")
        with grpc.insecure_channel(places["address"]) as channel:
            health = health_pb2_grpc.HealthStub(channel)
            statuses = health.Watch(health_pb2.HealthCheckRequest(), timeout=60)
            assert next(statuses).status == Status.SERVING
            (worker,) = one.workers()
            os.kill(worker, signal.SIGKILL)
            assert [next(statuses).status for _ in range(2)] == [Status.NOT_SERVING, Status.SERVING]
            statuses.cancel()
        assert one.workers() != [worker]
        with urllib.request.urlopen(f"http://{places['metrics_address']}/metrics", timeout=10) as response:
            assert b"gradserve_worker_losses_total 1.0" in response.read()


def test_an_address_for_metrics_that_is_taken_ends_the_server_with_the_reason() -> None:
    reason = f"[Errno {errno.EADDRINUSE}] {os.strerror(errno.EADDRINUSE)}"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with serving("--metrics-address", address) as one:
            one.until(f"cannot serve metrics at {address}: {reason}")
            assert one.process.wait(20) == 1

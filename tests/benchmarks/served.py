"""A server in a process of its own, over TCP as callers have it, and a client of it."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Literal

import gradserve as gs

Isolation = Literal["process", "none"]


@dataclasses.dataclass(frozen=True)
class Served:
    """A server that is ready.

    Attributes:
        address: of its gRPC.
        metrics_address: of its metrics; empty if it serves none.
        pid: of the front; a worker process is a child of it.
    """

    address: str
    metrics_address: str
    pid: int


@contextlib.contextmanager
def serving(isolation: Isolation, *flags: str) -> Iterator[Served]:
    """A fresh server with these flags, which stops at the end."""
    always = ("--address", "127.0.0.1:0", "--isolation", isolation, "--stop-with-stdin", "true")
    metrics = () if "--metrics-address" in flags else ("--metrics-address", "")
    command = [sys.executable, "-m", "gradserve_server", *always, *metrics, *flags]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stderr is not None
        metrics_address = ""
        for line in process.stderr:
            event = json.loads(line)
            if event["event"] == "listening":
                metrics_address = event["metrics_address"]
            if event["event"] == "serving":
                yield Served(event["address"], metrics_address, process.pid)
                break
        process.stdin.close()


@contextlib.contextmanager
def served(isolation: Isolation, *flags: str) -> Iterator[gs.Client]:
    """A client of a fresh server, which stops at the end."""
    with serving(isolation, *flags) as server, gs.Client(server.address) as client:
        yield client

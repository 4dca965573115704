"""A server in a process of its own, over TCP as callers have it, and a client of it."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Literal

import gradserve as gs

Isolation = Literal["process", "none"]


@contextlib.contextmanager
def served(isolation: Isolation) -> Iterator[gs.Client]:
    """A client of a fresh server, which stops at the end."""
    flags = ("--address", "127.0.0.1:0", "--metrics-address", "", "--isolation", isolation, "--stop-with-stdin", "true")
    command = [sys.executable, "-m", "gradserve_server", *flags]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stderr is not None
        for line in process.stderr:
            event = json.loads(line)
            if event["event"] == "serving":
                with gs.Client(event["address"]) as client:
                    yield client
                break
        process.stdin.close()

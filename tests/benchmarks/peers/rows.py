"""How many times more calls a second than peers: loss and all gradients, of weights and batch sent with each call."""

from __future__ import annotations

import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tests.benchmarks.peers.environment import python
from tests.benchmarks.row import Row
from tests.benchmarks.served import served
from tests.benchmarks.workload import MLP, TINY, Workload, agree, milliseconds

DRIVER = Path(__file__).parent / "driver.py"
ROUNDS = 5
# How many times faster to be, and calls in a round of each workload.
PEERS = {"tesseract": (8.0, (20, 2)), "pytensor_federated": (5.0, (40, 4)), "umbridge": (20.0, (10, 1))}
WORKLOADS = {"tiny": TINY, "mlp": MLP}


def measure_peers(only: str) -> Iterator[Row]:
    """The rows `tesseract_*`, `pytensor_federated_*` and `umbridge_*`: calls a second, ours by theirs."""
    for peer, (target, calls) in PEERS.items():
        for (size, workload), number in zip(WORKLOADS.items(), calls, strict=True):
            name = f"{peer}_{size}"
            if only not in name:
                continue
            try:
                ours, theirs = _measure(peer, workload, number)
            except RuntimeError as reason:
                print(f"{name} is skipped: {reason}", file=sys.stderr)
                continue
            yield Row(name, 1e3 / ours, "calls/s", 1e3 / theirs, target, rate=True)


def _measure(peer: str, workload: Workload, calls: int) -> tuple[float, float]:
    """Median milliseconds of a call of ours, and of the peer's, by turns.

    Raises:
        RuntimeError: the peer cannot be had here; tells why.
    """
    with _peer(peer, workload) as theirs, served("process") as client:
        workload.check(workload.call(client), workload.local()())
        found = [(milliseconds(lambda: workload.call(client), 40), theirs(calls)) for _ in range(ROUNDS)]
    one, other = (statistics.median(column) for column in zip(*found, strict=True))
    return one, other


@contextlib.contextmanager
def _peer(peer: str, workload: Workload) -> Iterator[Callable[[int], float]]:
    """A function that makes so many calls of the peer and tells the median of their milliseconds."""
    interpreter = python()
    with tempfile.TemporaryDirectory() as folder:
        names = {name: name.removeprefix("dense_") for name in workload.weights}
        names = {name: "_".join(reversed(short.split("/"))) for name, short in names.items()}
        arrays: Any = {names[name]: array for name, array in workload.weights.items()}
        np.savez(Path(folder) / "arrays.npz", **arrays, **workload.batch)
        # Neither our modules nor the folder of this process are for it to import.
        command = [interpreter, str(DRIVER), peer, folder]
        with (
            (Path(folder) / "log").open("w+") as log,
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True) as process,
        ):
            assert process.stdin is not None
            assert process.stdout is not None
            if _line(process.stdout, "ready") is None:
                log.seek(0)
                raise RuntimeError((log.read().strip().splitlines() or ["it does not start"])[-1])
            with np.load(Path(folder) / "answer.npz") as answer:
                gradients = {name: answer[short] for name, short in names.items()}
                agree(workload.local()(), answer["loss"], gradients)

            def call(calls: int) -> float:
                process.stdin.write(f"{calls}\n")  # type: ignore[union-attr]
                process.stdin.flush()  # type: ignore[union-attr]
                return statistics.median(json.loads(_line(process.stdout, "[") or "")) * 1e3

            yield call
            process.stdin.close()


def _line(lines: Any, start: str) -> str | None:
    """The next line that starts so; a peer may print others."""
    return next((line for line in lines if line.startswith(start)), None)

"""Calls of a hundred megabytes and of gigabytes, which go over a stream."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, final

import gradserve as gs
from tests.benchmarks.echo import chunk_echo
from tests.benchmarks.row import Row
from tests.benchmarks.served import served, serving
from tests.benchmarks.workload import Workload, by_turns

# 25 million parameters.
LARGE = Workload((2500, 2500, 2500, 2500, 2500), 1)
LARGE_ROUNDS = 7
# 3 GB, as layers that are all the same array: the caller needs no more memory for them than for one.
HUGE_WIDTH, HUGE_LAYERS = 5000, 30
GIB = 1 << 30


def measure_streams(only: str) -> Iterator[Row]:
    """The rows `stream_100mb` and `stream_3gb`."""
    if only in "stream_100mb":
        yield _large()
    if only in "stream_3gb":
        yield _huge()


def _large() -> Row:
    """Weights in and all gradients out; what the wire may take is the time of a raw echo of as many bytes by 0.6."""
    with served("process") as client, chunk_echo(LARGE.nbytes, LARGE.nbytes) as wire:
        local = LARGE.local()
        LARGE.check(LARGE.call(client), local())
        wire()
        value, floor, raw = by_turns(LARGE_ROUNDS, (lambda: LARGE.call(client), 1), (local, 1), (wire, 1))
    return Row("stream_100mb", value, "ms", floor + raw / 0.6, 1.0)


def _huge() -> Row:
    """The server's peak memory while it computes all gradients of the weights, by the bytes of the weights."""
    layer = Workload((HUGE_WIDTH, HUGE_WIDTH), 1)
    network = gs.sequential(*(gs.dense(HUGE_WIDTH) for _ in range(HUGE_LAYERS)), x=("batch", HUGE_WIDTH))
    weights: dict[str, Any] = {
        f"dense_{number}/{part}": layer.weights[f"dense_1/{part}"]
        for number in range(1, HUGE_LAYERS + 1)
        for part in ("kernel", "bias")
    }
    nbytes = HUGE_LAYERS * layer.nbytes
    with (
        serving("process") as server,
        gs.Client(server.address) as client,
        Peak(server.pid) as peak,
    ):
        result = client.gradients(network, weights, layer.batch, loss=layer.loss)
        assert result.summary.finite
        assert sum(one.nbytes for one in result.gradients.values()) == nbytes
    return Row("stream_3gb", peak.nbytes / GIB, "GiB", nbytes / GIB, 2.5)


@final
class Peak(contextlib.AbstractContextManager["Peak"]):
    """The most memory that a process and its children have together while this is open; what they share counts once.

    Args:
        pid: the process.

    Attributes:
        nbytes: the most so far.
    """

    def __init__(self, pid: int) -> None:
        self.nbytes = 0
        self._pid = pid
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(0.05):
            self.nbytes = max(self.nbytes, resident(self._pid))


def resident(pid: int) -> int:
    """Bytes of a process and its children, by the part of each page that is theirs (PSS)."""
    total = 0
    with contextlib.suppress(OSError):
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        total += next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
        for thread in Path(f"/proc/{pid}/task").iterdir():
            total += sum(resident(int(child)) for child in (thread / "children").read_text().split())
    return total

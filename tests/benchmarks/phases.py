"""Where the time of a tiny, a medium and a large request goes: the figure of docs/performance.md."""

from __future__ import annotations

import dataclasses
import re
import statistics
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import matplotlib as mpl

import gradserve as gs
from gradserve import requests
from tests.benchmarks.row import Row
from tests.benchmarks.served import serving
from tests.benchmarks.stream import LARGE
from tests.benchmarks.workload import MLP, TINY, Workload

FIGURE = Path("docs/figures/phases.svg")
# Name, workload, calls.
CASES = (("tiny", TINY, 300), ("medium", MLP, 60), ("large", LARGE, 7))
PHASES = ("encode", "wire", "convert", "copy", "hand over", "execute", "answer")
COLOURS = ("#4c78a8", "#9ecae9", "#f58518", "#e45756", "#ffbf79", "#54a24b", "#b279a2")
_SAMPLE = re.compile(r'gradserve_request_seconds_(sum|count)\{method="ComputeGradients",phase="(\w+)"\} (\S+)')


@dataclasses.dataclass(frozen=True)
class Phases:
    """Milliseconds of a request, the mean.

    Attributes:
        total: as the caller waits for it.
        parts: by name, one after the other; together they are the total.
    """

    total: float
    parts: dict[str, float]


def measure_phases(only: str) -> Iterator[Row]:
    """The rows `phases_*`, the time on the device by the whole time, and the figure."""
    names = [f"phases_{name}" for name, _, _ in CASES]
    if not any(only in name for name in names):
        return
    found = {name: _measure(workload, calls) for name, workload, calls in CASES}
    _draw(found)
    for name, phases in found.items():
        yield Row(f"phases_{name}", phases.parts["execute"], "ms", phases.total, None)


def _measure(workload: Workload, calls: int) -> Phases:
    with serving("process", "--metrics-address", "127.0.0.1:0") as server, gs.Client(server.address) as client:
        for _ in range(5):
            workload.call(client)
        before = _seconds(server.metrics_address)
        start = time.perf_counter()
        for _ in range(calls):
            workload.call(client)
        total = (time.perf_counter() - start) / calls
        after = _seconds(server.metrics_address)
    served = {phase: (after[phase] - before.get(phase, 0.0)) / calls for phase in after}
    encode = statistics.median(_encoded(workload) for _ in range(20))
    computed = {"encode": encode, "execute": served["execute"], "answer": served["answer"]}
    # Of a stream, it is part of the wire: requests are read as their chunks arrive.
    computed["convert"] = served.get("convert", 0.0)
    computed["copy"] = served["fill"]
    # From one process to the other and back, with the copies between them.
    computed["hand over"] = served["queue"]
    computed["wire"] = max(0.0, total - sum(computed.values()))
    return Phases(total * 1e3, {phase: computed[phase] * 1e3 for phase in PHASES})


def _encoded(workload: Workload) -> float:
    """Seconds in which the caller's side makes a request of arrays; of a stream, all but its chunks."""
    start = time.perf_counter()
    call = requests.gradients(workload.network, workload.weights, workload.batch, loss=workload.loss)
    if call.streamed is not None:
        call.streamed()
    return time.perf_counter() - start


def _seconds(address: str) -> dict[str, float]:
    """The seconds that calls spent in each phase so far, by the server's own metrics."""
    text = urllib.request.urlopen(f"http://{address}/metrics").read().decode()
    return {phase: float(value) for kind, phase, value in _SAMPLE.findall(text) if kind == "sum"}


def _draw(found: dict[str, Phases]) -> None:
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    # Names of parts would else be numbered anew in each run.
    with mpl.rc_context({"svg.hashsalt": "gradserve"}):
        figure, axes = plt.subplots(figsize=(8.6, 2.9), layout="constrained")
        for place, phases in enumerate(found.values()):
            left = 0.0
            for phase, colour in zip(PHASES, COLOURS, strict=True):
                part = 100 * phases.parts[phase] / phases.total
                axes.barh(place, part, left=left, color=colour, label=phase if not place else None)
                if part >= 8:
                    axes.text(left + part / 2, place, f"{phases.parts[phase]:.2g} ms", ha="center", va="center", size=8)
                left += part
        axes.set(xlabel="% of the caller's time", xlim=(0, 100))
        axes.set_yticks(range(len(found)), [f"{name}\n{one.total:.3g} ms" for name, one in found.items()])
        axes.invert_yaxis()
        axes.spines[["top", "right"]].set_visible(False)
        figure.legend(loc="outside upper center", ncols=len(PHASES), frameon=False)
        FIGURE.parent.mkdir(exist_ok=True)
        figure.savefig(FIGURE, metadata={"Date": None, "Creator": None})
    plt.close(figure)

"""What a trace costs beside the gradients alone."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator

import numpy as np

import gradserve as gs
from tests.benchmarks.row import Row
from tests.benchmarks.served import served

NAME = "trace_statistics"
_PAIRS = 30


def measure_traces(only: str) -> Iterator[Row]:
    """Statistics of all values and gradients of 12 layers, by a plain call for the gradients."""
    if only not in NAME:
        return
    layers = [layer for _ in range(12) for layer in (gs.dense(512), gs.relu())]
    network = gs.sequential(*layers, x=("batch", 512))
    generator = np.random.default_rng(0)
    batch = {name: generator.normal(size=(128, 512)).astype(np.float32) for name in ("x", "y")}
    loss = gs.squared_error(target="y")
    with served("process") as client:
        weights = client.initialize(network, 0)
        traced, plain = [], []
        for turn in range(_PAIRS + 3):
            first = _seconds(lambda: client.trace(network, weights, batch, loss=loss, whole_tensors_up_to=0))
            second = _seconds(lambda: client.gradients(network, weights, batch, loss=loss))
            if turn >= 3:
                traced.append(first)
                plain.append(second)
    yield Row(NAME, 1e3 * statistics.median(traced), "ms", 1e3 * statistics.median(plain), 1.5)


def _seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start

"""Memory of a server over thousands of requests: what it has after a while it has at the end."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

import gradserve as gs
from tests.benchmarks.row import Row
from tests.benchmarks.served import serving
from tests.benchmarks.stream import resident

REQUESTS, WARM, SHAPES = 2_000, 200, 20
MIB = 1 << 20


def measure_resident(only: str) -> Iterator[Row]:
    """The row `resident`: the most after the first 200 of 2,000 requests of 20 shapes, by what it was then."""
    if only not in "resident":
        return
    random = np.random.default_rng(0)
    networks = [gs.sequential(gs.dense(8 + shape), gs.tanh(), gs.dense(10), x=("batch", 64)) for shape in range(SHAPES)]
    loss = gs.softmax_cross_entropy(target="y")
    batch = {
        "x": random.standard_normal((32, 64)).astype(np.float32),
        "y": random.integers(0, 10, 32).astype(np.int32),
    }
    with serving("process") as server, gs.Client(server.address) as client:
        weights = [client.initialize(net, seed=0) for net in networks]
        before, most = 0, 0
        for number in range(REQUESTS):
            shape = number % SHAPES
            assert client.gradients(networks[shape], weights[shape], batch, loss=loss).summary.finite
            if number + 1 == WARM:
                before = resident(server.pid)
            elif number >= WARM and number % 100 == 99:
                most = max(most, resident(server.pid))
    yield Row("resident", most / MIB, "MiB", before / MIB, 1.1)

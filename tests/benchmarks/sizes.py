"""Batches of many sizes: how many programs they take, and how closely padded gradients are those of the batch."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator

import numpy as np
from prometheus_client.parser import text_string_to_metric_families

import gradserve as gs
from tests.benchmarks.row import Row
from tests.benchmarks.served import serving

BATCHES, MOST_EXAMPLES = 200, 200
# Each comes from another program: what is compared beside the count of compilations.
COMPARED = 12


def measure_sizes(only: str) -> Iterator[Row]:
    """The rows `ragged` (programs compiled for 200 batches) and `ragged_error` (gradients against unpadded ones)."""
    if not any(only in name for name in ("ragged", "ragged_error")):
        return
    net = gs.sequential(gs.dense(512), gs.tanh(), gs.dense(10), x=("batch", 64))
    loss = gs.softmax_cross_entropy(target="y")
    random = np.random.default_rng(0)
    sizes = random.permutation(np.arange(1, MOST_EXAMPLES + 1))
    with serving("process", "--metrics-address", "127.0.0.1:0") as server, gs.Client(server.address) as client:
        weights = client.initialize(net, seed=0)
        batches = [
            {
                "x": random.standard_normal((size, 64)).astype(np.float32),
                "y": random.integers(0, 10, size).astype(np.int32),
            }
            for size in sizes
        ]
        padded = [client.gradients(net, weights, batch, loss=loss) for batch in batches]
        compiled = compilations(server.metrics_address)
        error = 0.0
        for batch, found in list(zip(batches, padded, strict=True))[:COMPARED]:
            exact = client.gradients(net, weights, batch, loss=loss, exact_batch=True)
            for name, value in exact.gradients.items():
                difference = np.linalg.norm((found.gradients[name] - value).astype(np.float64))
                error = max(error, float(difference / np.linalg.norm(value.astype(np.float64))))
    if only in "ragged":
        yield Row("ragged", compiled, "compilations", 16, 1.0)
    yield Row("ragged_error", error * 1e6, "millionths", 1.0, 1.0)


def compilations(metrics_address: str) -> float:
    """Programs that a server has compiled so far."""
    with urllib.request.urlopen(f"http://{metrics_address}/metrics", timeout=10) as response:
        families = list(text_string_to_metric_families(response.read().decode()))
    return next(
        sample.value for one in families for sample in one.samples if sample.name == "gradserve_compilations_total"
    )

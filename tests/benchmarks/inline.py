"""One call with weights inline, against its floor: the same jitted function called locally, plus a raw gRPC echo of as
many bytes up and down."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import gradserve as gs
from gradserve import requests
from tests.benchmarks.echo import echo
from tests.benchmarks.row import Row
from tests.benchmarks.served import Isolation, served

# Name, sizes of the layers, examples, target with a worker process, target in process, calls in a round.
CASES: tuple[tuple[str, tuple[int, ...], int, float | None, float | None, int], ...] = (
    ("tiny_inline", (64, 64, 10), 32, 1.8, 1.5, 60),
    ("mlp_inline", (784, 512, 512, 10), 128, 1.6, None, 12),
)
ROUNDS = 12


def measure_inline(only: str) -> Iterator[Row]:
    """The rows `tiny_inline`, `mlp_inline` and their twins in process."""
    for name, sizes, examples, target, target_in_process, calls in CASES:
        for isolation, row, limit in (("process", name, target), ("none", f"{name}_in_process", target_in_process)):
            if only in row:
                value, reference = _measure(isolation, sizes, examples, calls)
                yield Row(row, value, "ms", reference, limit)


def _measure(isolation: Isolation, sizes: tuple[int, ...], examples: int, calls: int) -> tuple[float, float]:
    """Median milliseconds of a served call, and of its floor.

    A served call computes and travels by turns, so that each finds the caches cold that the other has used; so does
    its floor.
    """
    layers: list[gs.Layer] = []
    for units in sizes[1:-1]:
        layers += [gs.dense(units), gs.relu()]
    net = gs.sequential(*layers, gs.dense(sizes[-1]), x=("batch", sizes[0]))
    random = np.random.default_rng(0)
    batch = {
        "x": random.standard_normal((examples, sizes[0])).astype(np.float32),
        "y": random.integers(0, sizes[-1], examples).astype(np.int32),
    }
    loss = gs.softmax_cross_entropy(target="y")
    with served(isolation) as client:
        weights = client.initialize(net, seed=0)
        local = _local(weights, batch, len(sizes) - 1)
        _agree(client.gradients(net, weights, batch, loss=loss), local())
        up = requests.gradients(net, weights, batch, loss=loss).message
        down = sum(array.nbytes for array in weights.values())
        with echo(up, down) as wire:
            times, floor = [], []
            for _ in range(ROUNDS):
                # Side by side in each round, so that what else the machine does meets both.
                times.append(_median(lambda: client.gradients(net, weights, batch, loss=loss), calls))
                floor.append(_median(lambda: (local(), wire()), calls))
    return statistics.median(times), statistics.median(floor)


def _median(call: Callable[[], Any], calls: int) -> float:
    times = []
    for _ in range(calls):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return statistics.median(times) * 1e3


def _local(weights: dict[str, Any], batch: dict[str, Any], layers: int) -> Callable[[], Any]:
    """The same gradients by JAX in this process, from NumPy arrays and to NumPy arrays."""

    @jax.jit
    def gradients(weights: Any, x: Any, y: Any) -> Any:
        def loss(weights: Any) -> Any:
            h = x
            for layer in range(1, layers + 1):
                h = h @ weights[f"dense_{layer}/kernel"] + weights[f"dense_{layer}/bias"]
                h = jax.nn.relu(h) if layer < layers else h
            return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(h), y[:, None], axis=1))

        return jax.value_and_grad(loss)(weights)

    return lambda: jax.tree.map(np.asarray, gradients(weights, batch["x"], batch["y"]))


def _agree(result: gs.GradientResult, local: Any) -> None:
    """Both must compute the same, or the ratio says nothing."""
    np.testing.assert_allclose(result.loss, local[0], rtol=1e-5)
    for name, gradient in local[1].items():
        np.testing.assert_allclose(result.gradients[name], gradient, rtol=1e-4, atol=1e-6)

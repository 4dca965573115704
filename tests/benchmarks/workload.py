"""The networks that rows share: what a caller sends, and the same gradients by JAX in this process."""

from __future__ import annotations

import dataclasses
import functools
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import gradserve as gs


@dataclasses.dataclass(frozen=True)
class Workload:
    """Dense layers with relu between them, and softmax cross-entropy.

    Attributes:
        sizes: width of the input, then of each layer.
        examples: rows of the batch.
    """

    sizes: tuple[int, ...]
    examples: int

    @functools.cached_property
    def network(self) -> gs.Network:
        """As a caller writes it."""
        layers: list[gs.Layer] = []
        for units in self.sizes[1:-1]:
            layers += [gs.dense(units), gs.relu()]
        return gs.sequential(*layers, gs.dense(self.sizes[-1]), x=("batch", self.sizes[0]))

    @property
    def loss(self) -> gs.Loss:
        """Of the classes in `batch`."""
        return gs.softmax_cross_entropy(target="y")

    @functools.cached_property
    def batch(self) -> dict[str, Any]:
        """Inputs and classes, of chance."""
        random = np.random.default_rng(0)
        return {
            "x": random.standard_normal((self.examples, self.sizes[0])).astype(np.float32),
            "y": random.integers(0, self.sizes[-1], self.examples).astype(np.int32),
        }

    @functools.cached_property
    def weights(self) -> dict[str, Any]:
        """Arrays by name, in the order of the layers."""
        random = np.random.default_rng(1)
        found: dict[str, Any] = {}
        for number, (inputs, units) in enumerate(zip(self.sizes, self.sizes[1:], strict=False), 1):
            scale = np.float32((2 / inputs) ** 0.5)
            found[f"dense_{number}/kernel"] = random.standard_normal((inputs, units), np.float32) * scale
            found[f"dense_{number}/bias"] = np.zeros(units, np.float32)
        return found

    @property
    def nbytes(self) -> int:
        """Bytes of the weights, and so of the gradients."""
        return sum(one.nbytes for one in self.weights.values())

    def call(self, client: gs.Client, weights: Any = None, **options: Any) -> gs.GradientResult:
        """One served call; the weights inline if there are none other."""
        weights = self.weights if weights is None else weights
        return client.gradients(self.network, weights, self.batch, loss=self.loss, **options)

    def local(self) -> Callable[[], Any]:
        """A function that computes the same by JAX in this process, from NumPy arrays and to NumPy arrays."""
        import jax
        import jax.numpy as jnp

        layers = len(self.sizes) - 1

        @jax.jit
        def gradients(weights: Any, x: Any, y: Any) -> Any:
            def loss(weights: Any) -> Any:
                h = x
                for layer in range(1, layers + 1):
                    h = h @ weights[f"dense_{layer}/kernel"] + weights[f"dense_{layer}/bias"]
                    h = jax.nn.relu(h) if layer < layers else h
                return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(h), y[:, None], axis=1))

            return jax.value_and_grad(loss)(weights)

        return lambda: jax.tree.map(np.asarray, gradients(self.weights, self.batch["x"], self.batch["y"]))

    def check(self, result: gs.GradientResult, local: Any) -> None:
        """Both must compute the same, or a ratio says nothing."""
        agree(local, result.loss, result.gradients)


TINY = Workload((64, 64, 10), 32)
MLP = Workload((784, 512, 512, 10), 128)


def agree(local: Any, loss: float, gradients: Any) -> None:
    """Raises unless loss and gradients are those of `Workload.local`."""
    np.testing.assert_allclose(loss, local[0], rtol=1e-5)
    for name, gradient in local[1].items():
        np.testing.assert_allclose(gradients[name], gradient, rtol=1e-4, atol=1e-6)


def milliseconds(call: Callable[[], Any], calls: int = 1) -> float:
    """Of a call, the median."""
    times = []
    for _ in range(calls):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return statistics.median(times) * 1e3


def by_turns(rounds: int, *calls: tuple[Callable[[], Any], int]) -> tuple[float, ...]:
    """Median milliseconds of each call, made so often in each round: what else the machine does meets all of them."""
    found = [[milliseconds(call, times) for call, times in calls] for _ in range(rounds)]
    return tuple(statistics.median(column) for column in zip(*found, strict=True))

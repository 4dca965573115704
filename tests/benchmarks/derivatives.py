"""What each kind of derivative costs on the device, against a plain gradient or the forward pass of the same run."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import gradserve as gs
from tests.benchmarks.row import Row
from tests.benchmarks.served import served

EXAMPLES, WIDTH, CLASSES, CALLS = 64, 256, 10, 60
TARGETS = {"example_norms": 8.0, "hessian_product": 4.0, "all_gradients_over_forward": 3.5}


def measure_derivatives(only: str) -> Iterator[Row]:
    """The rows `example_norms`, `hessian_product` and `all_gradients_over_forward`."""
    names = [name for name in TARGETS if only in name]
    if not names:
        return
    layers = [layer for _ in range(4) for layer in (gs.dense(WIDTH), gs.relu())]
    net = gs.sequential(*layers, gs.dense(CLASSES), x=("batch", WIDTH))
    random = np.random.default_rng(0)
    batch = {
        "x": random.standard_normal((EXAMPLES, WIDTH)).astype(np.float32),
        "y": random.integers(0, CLASSES, EXAMPLES).astype(np.int32),
    }
    loss = gs.softmax_cross_entropy(target="y")
    with served("none") as client:
        weights = client.initialize(net, seed=0)
        vector = {name: np.ones_like(value) for name, value in weights.items()}

        def plain() -> Any:
            return client.gradients(net, weights, batch, loss=loss)

        pairs: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
            "example_norms": (
                lambda: client.gradients(net, weights, batch, loss=loss, example_summary=True),
                plain,
            ),
            "hessian_product": (lambda: client.hessian_product(net, weights, batch, vector, loss=loss), plain),
            "all_gradients_over_forward": (plain, lambda: client.forward(net, weights, batch, loss=loss)),
        }
        for name in names:
            yield Row(name, *_milliseconds(*pairs[name]), TARGETS[name])


def _milliseconds(call: Callable[[], Any], reference: Callable[[], Any]) -> tuple[float, str, float]:
    """Median times on the device, by turns, so that what else the machine does meets both."""
    call(), reference()
    times = [(call().timing.execute * 1e3, reference().timing.execute * 1e3) for _ in range(CALLS)]
    one, other = (statistics.median(column) for column in zip(*times, strict=True))
    return one, "ms", other

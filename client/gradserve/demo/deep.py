"""Three networks of a hundred layers: one whose gradients vanish, one where they explode, one where neither happens."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

import gradserve as gs
from gradserve.demo.digits import Digits
from gradserve.demo.training import Schedule
from gradserve.traces import Verdict

LAYERS = 100
WIDTH = 32
LAYER = "layers"
STEPS = 30


@dataclass(frozen=True)
class Deep:
    """A network of a hundred layers.

    Attributes:
        title: for people.
        file: what its files are called.
        layer: one layer, in words.
        network: takes "x" [batch, 8, 8, 1] and gives logits [batch, 10].
        expected: the verdict that it is an example of.
    """

    title: str
    file: str
    layer: str
    network: gs.Network
    expected: Verdict


def sigmoid() -> Deep:
    """The derivative of a sigmoid is at most 1/4."""
    layer = [gs.dense(WIDTH), gs.sigmoid()]
    return Deep("Sigmoid", "sigmoid", "sigmoid(W h + b)", _around(layer), "vanishing")


def badly_scaled() -> Deep:
    """Weights of twice the variance that keeps sizes: each layer multiplies both ways by about the square root of 2."""
    kernel = gs.variance_scaling(scale=2.0)
    layer = [gs.dense(WIDTH, kernel_initializer=kernel)]
    return Deep("Badly scaled linear", "linear", "W h + b, W too large", _around(layer), "exploding")


def residual() -> Deep:
    """Gradients have a way around each layer, and each layer's input is normalized."""
    layer = [gs.residual(gs.layer_normalization(), gs.dense(WIDTH), gs.relu())]
    return Deep(
        "Residual and normalized",
        "residual",
        "h + relu(W norm(h) + b)",
        _around(layer, gs.layer_normalization()),
        "healthy",
    )


def _around(layer: list[gs.Layer], *last: gs.Layer) -> gs.Network:
    return gs.sequential(
        gs.flatten(),
        gs.dense(WIDTH),
        gs.repeat(layer, LAYERS, name=LAYER),
        *last,
        gs.dense(10),
        x=("batch", 8, 8, 1),
    )


def schedule() -> Schedule:
    """Thirty steps."""
    return Schedule(epochs=1, batch_size=40, learning_rate=0.02)


def some(digits: Digits) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """As many images, in any order, as the steps take."""
    chosen = np.random.default_rng(0).permutation(len(digits))[: STEPS * schedule().batch_size]
    return digits.images[chosen], digits.labels[chosen]


def sizes_by_layer(trace: gs.TraceResult) -> list[float]:
    """The largest root mean square gradient of what flows through each layer, from the first to the last."""
    sizes = [0.0] * LAYERS
    for value in trace:
        block, _, rest = value.name.partition("/")
        number = rest.partition("/")[0]
        if block == LAYER and number.isdigit() and value.operation != "parameter" and value.gradient is not None:
            sizes[int(number)] = max(sizes[int(number)], value.gradient.root_mean_square)
    return sizes

"""The worked example: y = sigmoid(w2 relu(w1 x + b1) + b2), L = -log(y).

Once in closed form, in plain Python, and once as a network for the server, in float64.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

import gradserve as gs


@dataclass(frozen=True)
class Numbers:
    """What goes in; the target is 1."""

    x: float = 2.0
    w1: float = 0.5
    b1: float = 0.1
    w2: float = 0.3
    b2: float = 0.2


@dataclass(frozen=True)
class Row:
    """A quantity by name, its formula for people, and its value."""

    name: str
    formula: str
    value: float


def closed_form(given: Numbers) -> tuple[Row, ...]:
    """Values, the loss, and its derivatives by the chain rule.

    With L = -log(sigmoid(z2)), dL/dz2 = sigmoid(z2) - 1 = y - 1; all others follow from it.
    """
    z1 = given.w1 * given.x + given.b1
    h1 = max(z1, 0.0)
    z2 = given.w2 * h1 + given.b2
    y = 1.0 / (1.0 + math.exp(-z2))
    dz2 = y - 1.0
    dz1 = dz2 * given.w2 * (1.0 if z1 > 0.0 else 0.0)
    return (
        Row("z1", "w1 x + b1", z1),
        Row("h1", "relu(z1)", h1),
        Row("z2", "w2 h1 + b2", z2),
        Row("y", "sigmoid(z2)", y),
        Row("L", "-log(y)", -math.log(y)),
        Row("dL/dw1", "(y - 1) w2 [z1 > 0] x", dz1 * given.x),
        Row("dL/db1", "(y - 1) w2 [z1 > 0]", dz1),
        Row("dL/dw2", "(y - 1) h1", dz2 * h1),
        Row("dL/db2", "y - 1", dz2),
        Row("dL/dx", "(y - 1) w2 [z1 > 0] w1", dz1 * given.w1),
    )


def network() -> gs.Network:
    """The example as a graph over a batch of x, with z1, h1, z2 and y as outputs."""
    graph = gs.GraphBuilder("worked_example")
    x = graph.input("x", "batch", dtype="float64")
    w1, b1, w2, b2 = (graph.parameter(name) for name in ("w1", "b1", "w2", "b2"))
    z1 = graph.arithmetic("add", w1 * x, b1, name="z1")
    h1 = graph.add(gs.relu(), z1, name="h1")
    z2 = graph.arithmetic("add", w2 * h1, b2, name="z2")
    y = graph.add(gs.sigmoid(), z2, name="y")
    return graph.build(outputs=[z1, h1, z2, y])


def served(client: gs.Client, given: Numbers) -> dict[str, float]:
    """The same quantities by the same names, all computed by the server in one call.

    Binary cross-entropy with target 1 is -log(y).
    """

    def number(value: float) -> NDArray[np.float64]:
        return np.array(value, dtype=np.float64)

    result = client.gradients(
        network(),
        {name: number(getattr(given, name)) for name in ("w1", "b1", "w2", "b2")},
        {"x": np.array([given.x]), "target": np.array([1.0])},
        loss=gs.binary_cross_entropy(prediction="y", target="target"),
        inputs=["x"],
        outputs=["z1", "h1", "z2", "y"],
    )
    values = {name: array.item() for name, array in result.outputs.items()}
    gradients = {**result.gradients, **result.input_gradients}
    return {
        **values,
        "L": result.loss,
        **{f"dL/d{name}": array.item() for name, array in gradients.items()},
    }

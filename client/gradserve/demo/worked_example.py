"""The worked example: y = sigmoid(w2 relu(w1 x + b1) + b2), L = -log(y).

Once by hand, in plain Python, and once as a network for the server, in float64.
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
    """A quantity by name, how it comes about, and its value."""

    name: str
    formula: str
    value: float


def forward_by_hand(given: Numbers) -> tuple[Row, ...]:
    """The values from x to the loss."""
    z1 = given.w1 * given.x + given.b1
    h1 = max(z1, 0.0)
    z2 = given.w2 * h1 + given.b2
    y = 1.0 / (1.0 + math.exp(-z2))
    return (
        Row("z1", "w1 x + b1", z1),
        Row("h1", "relu(z1)", h1),
        Row("z2", "w2 h1 + b2", z2),
        Row("y", "sigmoid(z2)", y),
        Row("L", "-log(y)", -math.log(y)),
    )


def backward_by_hand(given: Numbers) -> tuple[Row, ...]:
    """The nine derivatives of the loss by the chain rule, each from those before it."""
    z1, h1, _, y, _ = (row.value for row in forward_by_hand(given))
    dy = -1.0 / y
    dz2 = dy * y * (1.0 - y)
    dh1 = dz2 * given.w2
    dz1 = dh1 * (1.0 if z1 > 0.0 else 0.0)
    return (
        Row("dL/dy", "-1 / y", dy),
        Row("dL/dz2", "dL/dy y (1 - y)", dz2),
        Row("dL/db2", "dL/dz2", dz2),
        Row("dL/dw2", "dL/dz2 h1", dz2 * h1),
        Row("dL/dh1", "dL/dz2 w2", dh1),
        Row("dL/dz1", "dL/dh1 [z1 > 0]", dz1),
        Row("dL/db1", "dL/dz1", dz1),
        Row("dL/dw1", "dL/dz1 x", dz1 * given.x),
        Row("dL/dx", "dL/dz1 w1", dz1 * given.w1),
    )


def by_hand(given: Numbers) -> tuple[Row, ...]:
    """Values and derivatives."""
    return (*forward_by_hand(given), *backward_by_hand(given))


def network() -> gs.Network:
    """The example as a graph over a batch of x, with z1, h1, z2 and y as outputs."""
    graph = gs.GraphBuilder("worked_example")
    x = graph.input("x", "batch", dtype="float64")
    w1, b1, w2, b2 = (graph.parameter(name) for name in ("w1", "b1", "w2", "b2"))
    w1x = graph.arithmetic("multiply", w1, x, name="w1x")
    z1 = graph.arithmetic("add", w1x, b1, name="z1")
    h1 = graph.add(gs.relu(), z1, name="h1")
    w2h1 = graph.arithmetic("multiply", w2, h1, name="w2h1")
    z2 = graph.arithmetic("add", w2h1, b2, name="z2")
    y = graph.add(gs.sigmoid(), z2, name="y")
    return graph.build(outputs=[z1, h1, z2, y])


def traced(client: gs.Client, given: Numbers) -> gs.TraceResult:
    """All of it by the server, in one call.

    Binary cross-entropy with target 1 is -log(y).
    """

    def number(value: float) -> NDArray[np.float64]:
        return np.array(value, dtype=np.float64)

    return client.trace(
        network(),
        {name: number(getattr(given, name)) for name in ("w1", "b1", "w2", "b2")},
        {"x": np.array([given.x]), "target": np.array([1.0])},
        loss=gs.binary_cross_entropy(prediction="y", target="target"),
    )


def served(trace: gs.TraceResult) -> dict[str, float]:
    """The numbers of a trace by the names that they have by hand."""
    numbers = {"L": trace.loss}
    for value in trace:
        numbers[value.name] = value.value.mean
        if value.gradient is not None:
            numbers[f"dL/d{value.name}"] = value.gradient.mean
    return numbers

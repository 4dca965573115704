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

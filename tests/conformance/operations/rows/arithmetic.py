"""Arithmetic with broadcasting."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from gradserve.v1 import network_pb2
from tests.conformance.operations.oracles import Array
from tests.conformance.operations.rows.row import Row, Sizes


def _arithmetic() -> list[Row]:
    def row(
        name: str, oracle: Callable[..., Array], shapes: tuple[Sizes, ...] = (("a", "b"), ("b",)), kind: str = "real"
    ) -> Row:
        function = network_pb2.Arithmetic.Function.Value(f"FUNCTION_{name}")
        message = network_pb2.Arithmetic(function=function)
        kinds = (kind,) * len(shapes)
        return Row(f"arithmetic {name.lower()}", "arithmetic", message, shapes, lambda w, *x: oracle(*x), kinds)

    return [
        row("ADD", lambda a, b, c: a + b + c, (("a", "b"), ("b",), ())),
        row("SUBTRACT", np.subtract),
        row("MULTIPLY", lambda a, b, c: a * b * c, (("a", "b"), (1, "b"), ("a", 1))),
        row("DIVIDE", np.divide, kind="positive"),
        row("POWER", np.power, kind="positive"),
        row("MAXIMUM", lambda a, b, c: np.maximum(np.maximum(a, b), c), (("a", "b"), ("a", "b"), ("b",))),
        row("MINIMUM", np.minimum),
        row("MATMUL", np.matmul, (("n", "a", "b"), ("b", "c"))),
    ]


ROWS = [*_arithmetic()]

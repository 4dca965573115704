"""Functions of one tensor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gradserve.v1 import network_pb2
from tests.conformance.operations import oracles
from tests.conformance.operations.oracles import Array
from tests.conformance.operations.rows.row import Row


def _elementwise() -> list[Row]:
    positive = {"LOG", "SQRT", "LOG1P", "LOG_GAMMA", "RSQRT"}
    wide = {"SOFTMAX": ("a", 3), "LOG_SOFTMAX": (3, "a")}

    def row(name: str, oracle: Callable[[Array], Array], suffix: str = "", **fields: Any) -> Row:
        function = network_pb2.Elementwise.Function.Value(f"FUNCTION_{name}")
        examples: int | str = "sums over examples" if suffix == " axis" else 0
        return Row(
            f"elementwise {name.lower()}{suffix}",
            "elementwise",
            network_pb2.Elementwise(function=function, **fields),
            (wide.get(name, ("a", "b")),),
            lambda w, x: oracle(x),
            ("boolean" if name == "NOT" else "positive" if name in positive else "real",),
            flat=name == "STOP_GRADIENT",
            examples=examples,
        )

    return [
        *(row(name, oracle) for name, oracle in oracles.ELEMENTWISE.items()),
        row("SOFTMAX", lambda x: oracles.softmax(x, 0), " axis", axis=-2),
        row("LOG_SOFTMAX", lambda x: np.log(oracles.softmax(x, 0)), " axis", axis=0),
        row("LEAKY_RELU", lambda x: np.where(x > 0, x, 0.01 * x)),
        row("LEAKY_RELU", lambda x: np.where(x > 0, x, 0.3 * x), " alpha", alpha=0.3),
        row("ELU", lambda x: np.where(x > 0, x, np.exp(x) - 1)),
        row("ELU", lambda x: np.where(x > 0, x, 0.7 * (np.exp(x) - 1)), " alpha", alpha=0.7),
    ]


ROWS = [*_elementwise()]

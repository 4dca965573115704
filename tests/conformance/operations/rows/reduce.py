"""Reductions, whole and running."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from gradserve.v1 import network_pb2
from tests.conformance.operations import oracles
from tests.conformance.operations.oracles import Array, Weights
from tests.conformance.operations.rows.row import Row


def _reduce() -> list[Row]:
    functions: dict[str, Callable[..., Array]] = {
        "SUM": lambda x, axes, keep: np.sum(x, axis=axes, keepdims=keep),
        "MEAN": lambda x, axes, keep: np.mean(x, axis=axes, keepdims=keep),
        "MAX": lambda x, axes, keep: np.max(x, axis=axes, keepdims=keep),
        "MIN": lambda x, axes, keep: np.min(x, axis=axes, keepdims=keep),
        "LOG_SUM_EXP": oracles.log_sum_exp,
    }

    def row(name: str, axes: Sequence[int], keep: bool) -> Row:
        message = network_pb2.Reduce(
            function=network_pb2.Reduce.Function.Value(f"FUNCTION_{name}"), axes=axes, keep_axes=keep
        )
        given = tuple(axes) or None
        label = f"reduce {name.lower()} {list(axes) or 'all'}{' keeps axes' if keep else ''}"

        def oracle(w: Weights, x: Array) -> Array:
            return np.asarray(functions[name](x, given, keep))

        return Row(label, "reduce", message, (("a", "b", 2),), oracle, examples="reduces over examples")

    return [row(name, axes, keep) for name in functions for axes, keep in (([], False), ([-1, 0], True))]


def _cumulative() -> list[Row]:
    functions: dict[str, Callable[..., Array]] = {
        "SUM": np.cumsum,
        "PRODUCT": np.cumprod,
        "MAX": np.maximum.accumulate,
    }

    def row(name: str, axis: int, reverse: bool, kind: str = "real") -> Row:
        message = network_pb2.Cumulative(
            function=network_pb2.Cumulative.Function.Value(f"FUNCTION_{name}"), axis=axis, reverse=reverse
        )

        def oracle(w: Weights, x: Array) -> Array:
            if reverse:
                return np.flip(functions[name](np.flip(x, axis), axis=axis), axis)
            return functions[name](x, axis=axis)

        label = f"cumulative {name.lower()}{' reverse' if reverse else ''}{' of integers' if kind != 'real' else ''}"
        return Row(label, "cumulative", message, ((2, "a", 3),), oracle, (kind,))

    return [
        *(row(name, axis, reverse) for name in functions for axis, reverse in ((1, False), (-1, True))),
        row("MAX", 1, False, "index:9"),
    ]


ROWS = [*_reduce(), *_cumulative()]

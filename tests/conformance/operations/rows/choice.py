"""Comparing, choosing, converting, indexing and ranking."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gradserve.v1 import network_pb2, tensor_pb2
from tests.conformance.operations.oracles import Array
from tests.conformance.operations.rows.row import Row, Sizes


def _choice() -> list[Row]:
    comparisons: dict[str, Callable[[Array, Array], Array]] = {
        "EQUAL": np.equal,
        "NOT_EQUAL": np.not_equal,
        "LESS": np.less,
        "LESS_OR_EQUAL": np.less_equal,
        "GREATER": np.greater,
        "GREATER_OR_EQUAL": np.greater_equal,
    }

    def compare(name: str) -> Row:
        message = network_pb2.Compare(function=network_pb2.Compare.Function.Value(f"FUNCTION_{name}"))
        # Small integers, so that some are equal.
        kinds = ("index:3", "index:3")
        return Row(
            f"compare {name.lower()}",
            "compare",
            message,
            ((4, "a"), ("a",)),
            lambda w, *x: comparisons[name](*x),
            kinds,
        )

    def gather(
        name: str,
        shapes: tuple[Sizes, ...],
        oracle: Callable[[Array, Array], Array],
        shared: tuple[int, ...] = (),
        **fields: Any,
    ) -> Row:
        message, kinds = network_pb2.Gather(**fields), ("real", "index:3")
        return Row(f"gather {name}", "gather", message, shapes, lambda w, *x: oracle(*x), kinds, shared=shared)

    def cast(name: str, kind: str, dtype: Any) -> Row:
        message = network_pb2.Cast(data_type=tensor_pb2.DataType.Value(f"DATA_TYPE_{name}"))
        return Row(
            f"cast {kind} to {name.lower()}", "cast", message, (("a", "b"),), lambda w, x: x.astype(dtype), (kind,)
        )

    def ranked(name: str, k: int, shape: Sizes, kind: str = "real", examples: int | str = 0) -> list[Row]:
        # Of equal integers the first comes first, as in a stable sort.
        return [
            Row(
                f"top_k {name} {'indices' if indices else 'values'}",
                "top_k",
                network_pb2.TopK(k=k, indices=indices),
                (shape,),
                (lambda w, x: np.argsort(-x, -1, "stable")[..., :k].astype(np.int32))
                if indices
                else (lambda w, x: -np.sort(-x, -1)[..., :k]),
                (kind,),
                examples=examples,
            )
            for indices in (False, True)
        ]

    return [
        *ranked("some", 2, ("a", 4)),
        *ranked("all", 3, ("a", "b", 3)),
        *ranked("integers", 3, (5,), "index:3", "examples are ranked among each other"),
        *(compare(name) for name in comparisons),
        Row(
            "select",
            "select",
            network_pb2.Select(),
            (("a", 3), ("b", 1, 3), ("a", 1)),
            lambda w, *x: np.where(*x),
            ("boolean", "real", "real"),
            examples=1,
        ),
        gather("rows", ((3, "a"), ("b", 2)), lambda x, i: x[i], shared=(0,)),
        gather("columns", (("a", 3), ("b",)), lambda x, i: x[:, i], axis=-1),
        gather("aligned", (("a", 3), ("a", "b")), lambda x, i: np.take_along_axis(x, i, 1), axis=1, aligned=True),
        gather(
            "aligned, axis missing",
            (("a", 3, "b"), ("a", "b")),
            lambda x, i: np.take_along_axis(x, i[:, None], 1)[:, 0],
            axis=1,
            aligned=True,
        ),
        cast("FLOAT32", "index:9", np.float64),
        cast("INT16", "real", np.int16),
        cast("BOOL", "index:2", np.bool_),
        Row(
            "range of a size",
            "range",
            network_pb2.Range(size=4),
            (),
            lambda w: np.arange(4, dtype=np.int32),
            examples=None,
        ),
        Row(
            "range of an axis",
            "range",
            network_pb2.Range(axis=-1),
            ((2, "a"),),
            lambda w, x: np.arange(x.shape[1], dtype=np.int32),
        ),
    ]


ROWS = [*_choice()]

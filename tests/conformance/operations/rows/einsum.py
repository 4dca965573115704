"""Sums of products over named axes; the oracle is NumPy's own."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradserve.v1 import network_pb2
from tests.conformance.operations.rows.row import Row, Sizes


def _row(name: str, equation: str, *shapes: Sizes, kind: str = "real", **fields: Any) -> Row:
    message = network_pb2.Einsum(equation=equation)
    kinds = (kind,) * len(shapes)
    return Row(f"einsum {name}", "einsum", message, shapes, lambda w, *x: np.einsum(equation, *x), kinds, **fields)


ROWS = [
    _row("matrix product", "bik,kj->bij", ("n", "a", 2), (2, "b")),
    _row("keeps the shape", "ab,bc -> ac", ("a", 3), (3, 3)),
    _row("three", "bik,kj,bi->jb", (2, "a", 2), (2, "b"), (2, "a"), examples=1, shared=(1,)),
    _row("diagonal", "iij->ji", (3, 3, "a"), examples="where an example has its part depends on its number"),
    _row("trace and sums", "ii,j->", ("a", "a"), ("b",), examples="sums over examples"),
    _row("any axes in front", "...ij,jk,...i->...ik", (2, "a", 1, 2), (2, "b"), ("a", 1), shared=(1,)),
    _row("integers", "ab,b->a", ("a", 3), (3,), kind="index:5"),
    _row("outer", "A,b->Ab", ("a",), ("b",)),
]

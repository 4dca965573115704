"""Layers that multiply by a kernel or look a table up."""

from __future__ import annotations

import dataclasses
from typing import Any

from gradserve.v1 import network_pb2
from tests.conformance.operations import oracles
from tests.conformance.operations.oracles import Geometry
from tests.conformance.operations.rows.row import Row, Sizes
from tests.conformance.operations.rows.windows import window


def _convolution() -> list[Row]:
    def row(name: str, shape: Sizes, geometry: Geometry, filters: int, groups: int = 0, **fields: Any) -> Row:
        message = network_pb2.Convolution(filters=filters, window=window(geometry), groups=groups, **fields)
        turned = fields.get("transposed", False)
        oracle = (oracles.transposed if turned else oracles.convolution)(geometry, groups or 1)
        return Row(f"convolution {name}", "convolution", message, (shape,), oracle, least=3)

    def turned(name: str, shape: Sizes, geometry: Geometry, groups: int = 0, filters: int = 2) -> Row:
        return dataclasses.replace(row(name, shape, geometry, filters, groups, transposed=True), least=1)

    return [
        row("1d same keeps the shape", (1, "a", 2), Geometry([3], same=True), 2),
        row("1d strided", (2, "a", 1), Geometry([2], [2]), 2, without_bias=True),
        row("1d even same strided", (1, "a", 2), Geometry([4], [3], same=True), 1),
        row("2d", (1, "a", "b", 2), Geometry([2, 3]), 2),
        row("2d groups", (1, "a", 3, 4), Geometry([2, 1], [1, 2], same=True), 2, 2),
        row("2d depthwise dilated", (1, "a", 3, 2), Geometry([2, 2], dilation=[2, 1], same=True), 4, 2),
        row("3d", (1, "a", 3, 2, 1), Geometry([2, 2, 1], [1, 2, 1], [2, 1, 1]), 2),
        turned("transposed same", (1, "a", 2), Geometry([3], [2], same=True)),
        turned("transposed sparse", (1, "a", 2), Geometry([2], [3], same=True)),
        turned("transposed valid", (1, "a", 2, 1), Geometry([3, 2], [2, 3])),
        turned("transposed dilated", (1, "a", 1), Geometry([2], [2], [2], same=True)),
        turned("transposed groups", (1, "a", 4), Geometry([3], [2], same=True), 2),
        turned("transposed groups valid", (2, "a", 1, 2), Geometry([2, 3], [1, 2], [2, 1]), 2, 4),
        turned("transposed 3d depthwise", (1, "a", 1, 2, 2), Geometry([2, 1, 2], [2, 1, 1], same=True), 2),
    ]


ROWS = [
    *_convolution(),
    Row("dense keeps the shape", "dense", network_pb2.Dense(units=3), (("a", "b", 3),), oracles.dense),
    Row("dense bare", "dense", network_pb2.Dense(units=2, without_bias=True), (("a", 3),), oracles.dense),
    Row(
        "embedding",
        "embedding",
        network_pb2.Embedding(rows=4, features=3),
        (("a", "b"),),
        oracles.embedding,
        ("index:4",),
    ),
]

"""Pooling."""

from __future__ import annotations

import numpy as np

from gradserve.v1 import network_pb2
from tests.conformance.operations import oracles
from tests.conformance.operations.oracles import Geometry
from tests.conformance.operations.rows.row import Row, Sizes
from tests.conformance.operations.rows.windows import window


def _pooling() -> list[Row]:
    functions = {True: network_pb2.Pooling.FUNCTION_MAX, False: network_pb2.Pooling.FUNCTION_MEAN}

    def row(name: str, shape: Sizes, geometry: Geometry, largest: bool) -> Row:
        message = network_pb2.Pooling(function=functions[largest], window=window(geometry))
        label = f"pooling {'max' if largest else 'mean'} {name}"
        return Row(label, "pooling", message, (shape,), oracles.pooling(geometry, largest), least=3)

    def whole(largest: bool) -> Row:
        message = network_pb2.Pooling(function=functions[largest])
        reduction = np.max if largest else np.mean
        label = f"pooling {'max' if largest else 'mean'} of all"
        return Row(label, "pooling", message, ((2, "a", "b", 2),), lambda w, x: reduction(x, (1, 2)))

    def default(largest: bool) -> Row:
        message = network_pb2.Pooling(function=functions[largest], window=network_pb2.Window(size=[2]))
        label = f"pooling {'max' if largest else 'mean'} steps by its size"
        return Row(label, "pooling", message, ((1, "a", 2),), oracles.pooling(Geometry([2], [2]), largest), least=3)

    return [
        made
        for largest in (True, False)
        for made in (
            whole(largest),
            default(largest),
            row("1d same keeps the shape", (1, "a", 2), Geometry([3], [1], same=True), largest),
            row("2d same strided", (1, "a", "b", 2), Geometry([2, 3], [2, 2], same=True), largest),
            row("2d dilated", (1, "a", 4, 1), Geometry([2, 2], [1, 2], [2, 1], same=True), largest),
            row("3d", (1, "a", 2, 2, 1), Geometry([2, 1, 2], [1, 1, 1]), largest),
        )
    ]


ROWS = [*_pooling()]

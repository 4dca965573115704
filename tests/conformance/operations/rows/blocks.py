"""Graphs used as one operation: once, many times, with parameters of each turn or of all."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradserve.v1 import network_pb2
from tests.conformance.operations.graphs import free, graph, node
from tests.conformance.operations.oracles import Array, Weights
from tests.conformance.operations.rows.row import Row

_TANH = network_pb2.Elementwise(function=network_pb2.Elementwise.FUNCTION_TANH)
_LAYER = (node("dense", "x", dense=network_pb2.Dense(units=2)), node("tanh", "dense", elementwise=_TANH))
_BODY = graph(free("x"), *_LAYER)
# The second branch has no operation of its own, the third names the same again.
_SHARING = graph(
    free("x"),
    *_LAYER,
    node("again", "tanh", share="dense"),
    node("named", "again", share="dense", dense=network_pb2.Dense(units=2)),
    outputs=["named", "tanh"],
)


def _layer(w: Weights, x: Array) -> Array:
    return np.tanh(x @ w["dense/kernel"] + w["dense/bias"])


def _turns(w: Weights, x: Array) -> Array:
    for kernel, bias in zip(w["dense/kernel"], w["dense/bias"], strict=True):
        x = _layer({"dense/kernel": kernel, "dense/bias": bias}, x)
    return x


def _shared(w: Weights, x: Array) -> Array:
    return _layer(w, _layer(w, _layer(w, x)))


def _sharing(w: Weights, x: Array) -> Array:
    x = _layer(w, x)
    for _ in range(2):
        x = x @ w["dense/kernel"] + w["dense/bias"]
    return x


def _block(name: str, oracle: Any, body: network_pb2.Graph = _BODY, **fields: Any) -> Row:
    return Row(f"block {name}", "block", network_pb2.Block(body=body, **fields), (("a", 2),), oracle)


ROWS = [
    _block("once", _layer),
    _block("repeated", _turns, repeat=2),
    _block("repeated once", _turns, repeat=1),
    _block("repeated with the same parameters", _shared, repeat=3, share_parameters=True),
    _block("with shared layers", _sharing, _SHARING),
]

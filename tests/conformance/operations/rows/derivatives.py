"""Derivatives of blocks, against those worked out by hand."""

from __future__ import annotations

import numpy as np

from gradserve.v1 import network_pb2
from tests.conformance.operations.graphs import free, graph, node
from tests.conformance.operations.oracles import Array, Weights
from tests.conformance.operations.rows.row import Row

_TANH = network_pb2.Elementwise(function=network_pb2.Elementwise.FUNCTION_TANH)
_MULTIPLY = network_pb2.Arithmetic(function=network_pb2.Arithmetic.FUNCTION_MULTIPLY)
_DENSE = network_pb2.Dense(units=2)
_OF_U = network_pb2.Tangent(of="u")
_ZERO = node("zero", constant=network_pb2.Constant(number=0.0))
_ONE = node("one", constant=network_pb2.Constant(number=1.0))

# u(x, y) = tanh(x W + b) y
_BODY = graph(
    free("x", "y"),
    node("dense", "x", dense=_DENSE),
    node("tanh", "dense", elementwise=_TANH),
    node("product", "tanh y", arithmetic=_MULTIPLY),
)
_BLOCK = node("u", "x0 x1", block=network_pb2.Block(body=_BODY))

# du/dx in the direction (1, ..., 1)
_SLOPE = graph(
    free("x", "y"),
    node("u", "x y", block=network_pb2.Block(body=_BODY)),
    _ONE,
    _ZERO,
    node("slope", "one zero", tangent=_OF_U),
)
_LAYER = graph(free("x"), node("dense", "x", dense=_DENSE), node("tanh", "dense", elementwise=_TANH))


def _tanh(w: Weights, x: Array, prefix: str = "u/") -> Array:
    return np.tanh(x @ w[f"{prefix}dense/kernel"] + w[f"{prefix}dense/bias"])


def _both(w: Weights, x: Array, y: Array, dx: Array, dy: Array) -> Array:
    t = _tanh(w, x)
    return (1 - t * t) * (dx @ w["u/dense/kernel"]) * y + t * dy


def _first(w: Weights, x: Array, y: Array, dx: Array) -> Array:
    return _both(w, x, y, np.broadcast_to(dx, x.shape), np.zeros_like(y))


def _second(w: Weights, x: Array, y: Array, dx: Array) -> Array:
    """In the directions (1, ..., 1) and dx."""
    kernel = w["u/u/dense/kernel"]
    t = _tanh(w, x, "u/u/")
    return -2 * t * (1 - t * t) * (dx @ kernel) * kernel.sum(0) * y


def _turns(w: Weights, x: Array, dx: Array) -> Array:
    for kernel, bias in zip(w["u/dense/kernel"], w["u/dense/bias"], strict=True):
        x = np.tanh(x @ kernel + bias)
        dx = (1 - x * x) * (dx @ kernel)
    return dx


_SHAPES = (("a", 2), ("a", 2))

ROWS = [
    Row("tangent", "tangent", _OF_U, (*_SHAPES, *_SHAPES), _both, before=(_BLOCK,), arguments=("x2", "x3")),
    Row(
        "tangent in one input, broadcast",
        "tangent",
        _OF_U,
        (*_SHAPES, (2,)),
        _first,
        before=(_BLOCK, _ZERO),
        arguments=("x2", "zero"),
    ),
    Row(
        "tangent of a tangent",
        "tangent",
        _OF_U,
        (*_SHAPES, ("a", 2)),
        _second,
        before=(node("u", "x0 x1", block=network_pb2.Block(body=_SLOPE)), _ZERO),
        arguments=("x2", "zero"),
    ),
    Row(
        "tangent of a repeated block",
        "tangent",
        _OF_U,
        _SHAPES,
        _turns,
        before=(node("u", "x0", block=network_pb2.Block(body=_LAYER, repeat=2)),),
        arguments=("x1",),
    ),
]

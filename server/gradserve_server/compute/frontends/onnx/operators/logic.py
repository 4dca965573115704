"""Comparisons, booleans and bits."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np

from gradserve_server.compute.frontends.onnx.call import Call
from gradserve_server.compute.frontends.onnx.operators.arithmetic import pair
from gradserve_server.compute.frontends.onnx.table import Value, operator


def _boolean(value: Any) -> Any:
    # Comparisons of symbols give objects.
    return value.astype(bool) if isinstance(value, np.ndarray) else value


@operator("Equal", 1, 7, 11, 13, 19, folds=True)
def equal(call: Call) -> Value:
    a, b = pair(call)
    return _boolean(a == b)


@operator("Greater", 1, 7, 9, 13, folds=True)
def greater(call: Call) -> Value:
    a, b = pair(call)
    return _boolean(a > b)


@operator("Less", 1, 7, 9, 13, folds=True)
def less(call: Call) -> Value:
    a, b = pair(call)
    return _boolean(a < b)


@operator("GreaterOrEqual", 12, 16, folds=True)
def greater_or_equal(call: Call) -> Value:
    a, b = pair(call)
    return _boolean(a >= b)


@operator("LessOrEqual", 12, 16, folds=True)
def less_or_equal(call: Call) -> Value:
    a, b = pair(call)
    return _boolean(a <= b)


@operator("And", 1, 7, folds=True)
def logical_and(call: Call) -> Value:
    a, b = pair(call)
    return call.xp.logical_and(a, b)


@operator("Or", 1, 7, folds=True)
def logical_or(call: Call) -> Value:
    a, b = pair(call)
    return call.xp.logical_or(a, b)


@operator("Xor", 1, 7, folds=True)
def logical_xor(call: Call) -> Value:
    a, b = pair(call)
    return call.xp.logical_xor(a, b)


@operator("Where", 9, 16, folds=True)
def where(call: Call) -> Value:
    return call.xp.where(call.input(0), call.input(1), call.input(2))


@operator("BitwiseAnd", 18, folds=True)
def bitwise_and(call: Call) -> Value:
    return call.input(0) & call.input(1)


@operator("BitwiseOr", 18, folds=True)
def bitwise_or(call: Call) -> Value:
    return call.input(0) | call.input(1)


@operator("BitwiseXor", 18, folds=True)
def bitwise_xor(call: Call) -> Value:
    return call.input(0) ^ call.input(1)


@operator("BitShift", 11, 28)
def bit_shift(call: Call) -> Value:
    x, by = call.input(0), call.input(1)
    # Neither NumPy nor XLA shifts by as many bits as there are.
    width = 8 * x.dtype.itemsize
    left = call.attribute("direction") == "LEFT"
    shifted = x << by if left else x >> by
    sign = jnp.zeros_like(x) if left or jnp.issubdtype(x.dtype, jnp.unsignedinteger) else x >> (width - 1)
    return jnp.where(by.astype(jnp.uint64) >= width, sign, shifted)

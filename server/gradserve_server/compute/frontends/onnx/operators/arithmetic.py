"""Arithmetic on two or more tensors, with broadcasting."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradserve_server.compute.frontends.onnx.call import Call
from gradserve_server.compute.frontends.onnx.table import Value, operator


def pair(call: Call) -> tuple[Any, Any]:
    """The two inputs, the second with axes added where an old version says to align it at an axis of the first."""
    a, b = call.input(0), call.input(1)
    if call.version < 7 and call.attribute("broadcast", 0) and "axis" in call.attributes:
        axis = call.axis(call.attribute("axis"), a.ndim)
        b = b.reshape(*b.shape, *(1 for _ in range(a.ndim - axis - b.ndim)))
    return a, b


@operator("Add", 6, 7, 13, 14, folds=True)
def add(call: Call) -> Value:
    a, b = pair(call)
    return a + b


@operator("Sub", 6, 7, 13, 14, folds=True)
def subtract(call: Call) -> Value:
    a, b = pair(call)
    return a - b


@operator("Mul", 6, 7, 13, 14, folds=True)
def multiply(call: Call) -> Value:
    a, b = pair(call)
    return a * b


@operator("Div", 6, 7, 13, 14, folds=True)
def divide(call: Call) -> Value:
    a, b = pair(call)
    if jnp.issubdtype(_dtype(a), jnp.floating):
        return a / b
    return _truncating_quotient(a, b, call.xp)


def _truncating_quotient(a: Any, b: Any, xp: Any) -> Any:
    if xp is np and (a.dtype == object or b.dtype == object):
        # Sizes are not negative.
        return a // b
    if xp is np:
        return (np.sign(a) * np.sign(b) * (np.abs(a) // np.abs(b))).astype(a.dtype)
    return jax.lax.div(*jnp.broadcast_arrays(a, b))


def _dtype(value: Any) -> np.dtype[Any]:
    return np.dtype(np.int64) if value.dtype == object else np.dtype(value.dtype)


@operator("Mod", 10, 13, 28, folds=True)
def modulo(call: Call) -> Value:
    a, b = pair(call)
    if call.attribute("fmod", 0):
        return call.xp.fmod(a, b)
    return a % b


@operator("Pow", 1, 7, 12, 13, 15)
def power(call: Call) -> Value:
    base, exponent = pair(call)
    raw = call.inputs[1]
    if isinstance(raw, np.ndarray) and raw.size == 1 and raw.dtype != object:
        number = raw.reshape(-1)[0].item()
        if number == int(number) and abs(number) <= 1024 and (number >= 0 or jnp.issubdtype(base.dtype, jnp.floating)):
            # Exact, and with a gradient where the logarithm of the base has none.
            shape = jnp.broadcast_shapes(base.shape, raw.shape)
            return jnp.broadcast_to(jax.lax.integer_pow(base, int(number)), shape)
    if jnp.issubdtype(base.dtype, jnp.floating):
        return jnp.power(base, exponent.astype(base.dtype))
    if jnp.issubdtype(exponent.dtype, jnp.floating):
        return jnp.power(base.astype(jnp.float64), exponent.astype(jnp.float64)).astype(base.dtype)
    return jnp.power(base, exponent.astype(base.dtype))


@operator("Sum", 6, 8, 13, folds=True)
def total(call: Call) -> Value:
    return functools.reduce(lambda a, b: a + b, call.all_inputs())


@operator("Mean", 6, 8, 13)
def mean(call: Call) -> Value:
    values = call.all_inputs()
    return functools.reduce(jnp.add, values) / len(values)


@operator("Max", 6, 8, 12, 13, folds=True)
def maximum(call: Call) -> Value:
    return functools.reduce(call.xp.maximum, call.all_inputs())


@operator("Min", 6, 8, 12, 13, folds=True)
def minimum(call: Call) -> Value:
    return functools.reduce(call.xp.minimum, call.all_inputs())

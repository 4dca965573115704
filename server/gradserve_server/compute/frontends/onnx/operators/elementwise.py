"""Functions of one tensor, element by element."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradserve_server.compute.frontends.onnx.call import Call
from gradserve_server.compute.frontends.onnx.table import Value, operator

# By name: the versions, and the function of NumPy and JAX's NumPy alike.
_ALIKE: dict[str, tuple[tuple[int, ...], str]] = {
    "Acos": ((7, 22), "arccos"),
    "Acosh": ((9, 22), "arccosh"),
    "Asin": ((7, 22), "arcsin"),
    "Asinh": ((9, 22), "arcsinh"),
    "Atan": ((7, 22), "arctan"),
    "Atanh": ((9, 22), "arctanh"),
    "Ceil": ((6, 13), "ceil"),
    "Cos": ((7, 22), "cos"),
    "Cosh": ((9, 22), "cosh"),
    "Exp": ((6, 13), "exp"),
    "Floor": ((6, 13), "floor"),
    "IsNaN": ((9, 13, 20), "isnan"),
    "Log": ((6, 13), "log"),
    "Neg": ((6, 13), "negative"),
    "Round": ((11, 22), "round"),
    "Sin": ((7, 22), "sin"),
    "Sinh": ((9, 22), "sinh"),
    "Sqrt": ((6, 13), "sqrt"),
    "Tan": ((7, 22), "tan"),
    "Tanh": ((6, 13), "tanh"),
}


def _alike(name: str) -> Callable[[Call], Value]:
    return lambda call: getattr(call.xp, name)(call.input(0))


for _name, (_versions, _function) in _ALIKE.items():
    operator(_name, *_versions, folds=True)(_alike(_function))


@operator("Abs", 6, 13, folds=True)
def absolute(call: Call) -> Value:
    return call.xp.abs(call.input(0))


@operator("Sign", 9, 13, folds=True)
def sign(call: Call) -> Value:
    return call.xp.sign(call.input(0))


@operator("Reciprocal", 6, 13, folds=True)
def reciprocal(call: Call) -> Value:
    return 1 / call.input(0)


@operator("Erf", 9, 13)
def erf(call: Call) -> Value:
    x = call.input(0)
    if not jnp.issubdtype(x.dtype, jnp.floating):
        return jax.scipy.special.erf(x.astype(jnp.float32)).astype(x.dtype)
    return jax.scipy.special.erf(x)


@operator("IsInf", 10, 20, folds=True)
def is_infinite(call: Call) -> Value:
    x, xp = call.input(0), call.xp
    found = xp.zeros(x.shape, bool)
    if call.attribute("detect_positive", 1):
        found = found | (x == np.inf)
    if call.attribute("detect_negative", 1):
        found = found | (x == -np.inf)
    return found


@operator("Not", 1, folds=True)
def logical_not(call: Call) -> Value:
    return call.xp.logical_not(call.input(0))


@operator("BitwiseNot", 18, folds=True)
def bitwise_not(call: Call) -> Value:
    return call.xp.invert(call.input(0))


@operator("Identity", 1, 13, 14, 16, 19, 21, 23, 24, 25, folds=True)
def identity(call: Call) -> Value:
    return call.inputs[0]


def floating(call: Call, index: int = 0) -> Any:
    """The input at `index`, which must be of a floating-point type."""
    x = call.input(index)
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise call.refuse("it takes floating-point numbers")
    return x

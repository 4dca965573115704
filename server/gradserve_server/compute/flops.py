"""Floating-point operations of a program, counted on its jaxpr.

XLA's own count takes the body of a loop once; here a scan's counts as often as it turns. A product of [m, k] and [k, n]
counts 2 m k n, and everything else one for each element that it makes.
"""

from __future__ import annotations

import math
from typing import Any

import jax
from jax.extend import core

_FREE = frozenset(
    {
        *("broadcast_in_dim", "reshape", "transpose", "squeeze", "expand_dims", "concatenate", "pad", "rev", "split"),
        *("slice", "dynamic_slice", "dynamic_update_slice", "gather", "select_n", "iota", "copy", "device_put"),
        *("convert_element_type", "bitcast_convert_type", "stop_gradient"),
        *("random_seed", "random_wrap", "random_unwrap", "random_fold_in"),
    }
)


class _Uncountable(Exception):
    """There is a function in it that came as a whole, with no equations."""


def count(jaxpr: core.Jaxpr) -> int | None:
    """Floating-point operations of `jaxpr`, those of loops and called functions included; None if they cannot be told.

    They cannot where it calls an artifact of jax.export.
    """
    try:
        return _count(jaxpr)
    except _Uncountable:
        return None


def _count(jaxpr: core.Jaxpr) -> int:
    return sum(_equation(equation) for equation in jaxpr.eqns)


def _equation(equation: Any) -> int:
    name = equation.primitive.name
    if name == "call_exported":
        raise _Uncountable
    parameters = equation.params
    outputs: int = sum(math.prod(variable.aval.shape) for variable in equation.outvars)
    if name == "dot_general":
        contracted = parameters["dimension_numbers"][0][0]
        left = equation.invars[0].aval.shape
        return 2 * outputs * int(math.prod(left[axis] for axis in contracted))
    if name == "conv_general_dilated":
        kernel = equation.invars[1].aval.shape
        features = parameters["dimension_numbers"].rhs_spec[0]
        return 2 * outputs * int(math.prod(kernel) // kernel[features])
    if name == "scan":
        return int(parameters["length"]) * _count(parameters["jaxpr"].jaxpr)
    if name == "cond":
        return max(_count(branch.jaxpr) for branch in parameters["branches"])
    inner = [value for value in jax.tree.leaves(parameters, is_leaf=_is_jaxpr) if _is_jaxpr(value)]
    if inner:
        return sum(_count(getattr(value, "jaxpr", value)) for value in inner)
    if name.startswith(("reduce_window", "select_and_scatter")):
        return outputs * int(math.prod(parameters.get("window_dimensions", ())))
    if name.startswith(("reduce_", "scatter", "arg", "cumsum", "cumprod", "cummax")):
        return sum(math.prod(variable.aval.shape) for variable in equation.invars if hasattr(variable, "aval"))
    return 0 if name in _FREE else outputs


def _is_jaxpr(value: Any) -> bool:
    return isinstance(value, core.Jaxpr | core.ClosedJaxpr)

"""16-bit numbers: what is computed in 32 bits all the same.

Operations widen what overflows or loses too much in 16 bits (normalizations, softmax). `SUMS_IN_32_BITS` sees to what
adds up, in the finished program: so it holds for the backward pass too, whoever wrote that.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from gradserve_server.common.specs import Precision
from gradserve_server.compute.jaxprs import Equation
from gradserve_server.compute.rewriting import Rule, Run

DTYPES = {Precision.BFLOAT16: jnp.bfloat16, Precision.FLOAT16: jnp.float16}

_PRODUCTS = frozenset({"dot_general", "conv_general_dilated"})
_SUMS = frozenset({"reduce_sum", "cumsum", "reduce_window_sum"})
_SCATTERED = "scatter-add"


def is_half(dtype: Any) -> bool:
    """Whether a type is floating-point of 16 bits."""
    return dtype in (jnp.bfloat16, jnp.float16)


def wide(dtype: Any) -> Any:
    """float32 for a type of 16 bits, any other as it is."""
    return jnp.float32 if is_half(dtype) else dtype


def widened(x: jax.Array) -> jax.Array:
    """`x` in 32 bits if it is of 16, to compute what loses too much in them, or overflows."""
    return x.astype(wide(x.dtype))


def _adds_up(equation: Equation) -> bool:
    if equation.primitive.name not in {*_PRODUCTS, *_SUMS, _SCATTERED}:
        return False
    return is_half(equation.outvars[0].aval.dtype)  # type: ignore[attr-defined]


def _added_up_wide(equation: Equation, operands: list[Any], _run: Run) -> Sequence[Any]:
    primitive, parameters, dtype = equation.primitive, equation.params, equation.outvars[0].aval.dtype  # type: ignore[attr-defined]
    if primitive.name in _PRODUCTS:
        wanted = {"preferred_element_type": jnp.dtype(jnp.float32)}
        result = primitive.bind(*operands, **{**parameters, **wanted})
    elif primitive.name in _SUMS:
        result = primitive.bind(*map(widened, operands), **parameters)
    else:
        into, indices, updates = operands
        names = ("dimension_numbers", "indices_are_sorted", "unique_indices", "mode")
        how = {name: parameters[name] for name in names}
        result = jax.lax.scatter_add(widened(into), indices, widened(updates), **how)
    return [result.astype(dtype)]


SUMS_IN_32_BITS = Rule(_adds_up, _added_up_wide)

"""Arithmetic on tensors, with NumPy's broadcasting."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from gradserve.v1 import network_pb2
from gradserve_server.common.errors import Problem, Reason
from gradserve_server.compute.frontends.graph.call import Call, Value, form, promote
from gradserve_server.compute.frontends.graph.table import operation

_Function = network_pb2.Arithmetic.Function
_PAIRS: dict[int, Callable[[jax.Array, jax.Array], jax.Array]] = {
    _Function.FUNCTION_SUBTRACT: jnp.subtract,
    _Function.FUNCTION_DIVIDE: jnp.divide,
    _Function.FUNCTION_POWER: jnp.power,
    _Function.FUNCTION_MATMUL: jnp.matmul,
}
_CHAINS: dict[int, Callable[[jax.Array, jax.Array], jax.Array]] = {
    _Function.FUNCTION_ADD: jnp.add,
    _Function.FUNCTION_MULTIPLY: jnp.multiply,
    _Function.FUNCTION_MAXIMUM: jnp.maximum,
    _Function.FUNCTION_MINIMUM: jnp.minimum,
}


@operation("arithmetic", inputs=(2, None))
def arithmetic(call: Call[network_pb2.Arithmetic]) -> Value:
    """The function that the node names."""
    function = call.attributes.function
    if function == _Function.FUNCTION_UNSPECIFIED:
        raise Problem(Reason.MISSING_FIELD, "the function is not set", field=f"{call.node.field}.function")
    arrays = promote(call, call.inputs)
    if arrays[0].dtype == jnp.bool_:
        raise call.refuse_input(0, "it takes numbers, not booleans", "Put a `cast` before it.")
    if function in _CHAINS:
        return functools.reduce(_CHAINS[function], same_rank(call, arrays))
    if len(arrays) != 2:
        raise call.refuse("function", "it takes two inputs", given=str(len(arrays)), expected="2")
    if function == _Function.FUNCTION_MATMUL:
        if any(array.ndim < 2 for array in arrays):
            raise call.refuse(
                "function",
                "a matrix product needs two axes at least",
                given=", ".join(form(one) for one in call.inputs),
                hint="A `reshape` adds an axis.",
            )
        return jnp.matmul(*arrays)
    if function == _Function.FUNCTION_DIVIDE and not jnp.issubdtype(arrays[0].dtype, jnp.floating):
        arrays = [array.astype(call.dtype) for array in arrays]
    return _PAIRS[function](*same_rank(call, arrays))


def same_rank(call: Call[Any], arrays: list[jax.Array]) -> list[jax.Array]:
    """Adds axes of size one in front, and refuses shapes that do not broadcast."""
    rank = max(array.ndim for array in arrays)
    padded = [array.reshape((1,) * (rank - array.ndim) + array.shape) for array in arrays]
    for axis in range(rank):
        sizes = {str(array.shape[axis]): None for array in padded if array.shape[axis] != 1}
        if len(sizes) > 1:
            raise call.refuse(
                "",
                f"the shapes do not broadcast: axis {axis - rank} is {' and '.join(sizes)}",
                given=", ".join(form(one) for one in call.inputs),
                expected="equal sizes, or 1",
            )
    return padded

"""Changes of shape, joins and reductions."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from gradserve.v1 import network_pb2
from gradserve_server.common.errors import Problem, Reason
from gradserve_server.compute.frontends.graph.call import Call, Value, form, promote
from gradserve_server.compute.frontends.graph.table import operation

_Function = network_pb2.Reduce
_REDUCTIONS: dict[int, Callable[..., jax.Array]] = {
    _Function.FUNCTION_SUM: jnp.sum,
    _Function.FUNCTION_MEAN: jnp.mean,
    _Function.FUNCTION_MAX: jnp.max,
    _Function.FUNCTION_MIN: jnp.min,
    _Function.FUNCTION_LOG_SUM_EXP: jax.nn.logsumexp,
}


@operation("reshape", moves_only=True)
def reshape(call: Call[network_pb2.Reshape]) -> Value:
    """Another shape for the same elements in the same order."""
    x = call.array()
    wanted = list(call.attributes.shape)
    if any(size < -1 for size in wanted) or wanted.count(-1) > 1:
        raise call.refuse("shape", "not a shape", given=str(wanted), expected="sizes, 0, and at most one -1")
    shape: list[Any] = []
    for place, size in enumerate(wanted):
        if size == 0 and place >= x.ndim:
            raise call.refuse("shape", f"0 keeps axis {place}, which {form(x)} does not have", given=str(wanted))
        shape.append(x.shape[place] if size == 0 else size)
    concrete = [size for size in (*x.shape, *shape) if isinstance(size, int)]
    if len(concrete) == x.ndim + len(shape):
        have, want = math.prod(x.shape), math.prod(size for size in shape if size != -1)
        if (have != want) if -1 not in shape else (want == 0 or have % want):
            raise call.refuse(
                "shape", "the numbers of elements differ", given=f"{form(x)} to {wanted}", expected=f"{have} elements"
            )
    return jnp.reshape(x, tuple(shape))


@operation("concatenate", inputs=(2, None), moves_only=True)
def concatenate(call: Call[network_pb2.Concatenate]) -> Value:
    """Tensors one after the other along an axis."""
    if not call.attributes.HasField("axis"):
        raise Problem(Reason.MISSING_FIELD, "the axis is not set", field=f"{call.node.field}.axis")
    arrays = promote(call, [call.array(index) for index in range(len(call.inputs))])
    axis = call.axis(call.attributes.axis, arrays[0].ndim, "axis")
    first = arrays[0].shape
    for index, array in enumerate(arrays):
        same = array.ndim == len(first) and all(
            one == other for place, (one, other) in enumerate(zip(array.shape, first, strict=True)) if place != axis
        )
        if not same:
            raise call.refuse_input(index, f"all sizes but that of axis {axis} must be equal", expected=form(arrays[0]))
    return jnp.concatenate(arrays, axis=axis)


@operation("reduce")
def reduce(call: Call[network_pb2.Reduce]) -> Value:
    """One number for all elements along some axes."""
    function = call.attributes.function
    if function == _Function.FUNCTION_UNSPECIFIED:
        raise Problem(Reason.MISSING_FIELD, "the function is not set", field=f"{call.node.field}.function")
    needs_float = function in (_Function.FUNCTION_MEAN, _Function.FUNCTION_LOG_SUM_EXP)
    x = call.floating() if needs_float else call.array()
    if x.dtype == jnp.bool_:
        raise call.refuse_input(0, "it takes numbers, not booleans", "Put a `cast` before it.")
    axes = [call.axis(axis, x.ndim, "axes") for axis in call.attributes.axes] or list(range(x.ndim))
    if len(set(axes)) != len(axes):
        raise call.refuse("axes", "an axis is named twice", given=str(list(call.attributes.axes)))
    options: dict[str, Any] = {"axis": tuple(axes), "keepdims": call.attributes.keep_axes}
    if function == _Function.FUNCTION_SUM:
        options["dtype"] = x.dtype
    return _REDUCTIONS[function](x, **options)

"""Reductions over axes, whole and running."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from gradserve.v1 import network_pb2
from gradserve_server.common.errors import Problem, Reason
from gradserve_server.compute.frontends.graph.call import Call, Value
from gradserve_server.compute.frontends.graph.table import operation
from gradserve_server.compute.precision import widened

_Function = network_pb2.Reduce.Function
_Running = network_pb2.Cumulative.Function
_RUNNING = {
    _Running.FUNCTION_SUM: jax.lax.cumsum,
    _Running.FUNCTION_PRODUCT: jax.lax.cumprod,
    _Running.FUNCTION_MAX: jax.lax.cummax,
}


@operation("reduce")
def reduce(call: Call[network_pb2.Reduce]) -> Value:
    """The function that the node names, over `axes` or all of them."""
    function, keep = call.attributes.function, call.attributes.keep_axes
    if function == _Function.FUNCTION_UNSPECIFIED:
        raise Problem(Reason.MISSING_FIELD, "the function is not set", field=f"{call.node.field}.function")
    x = call.array()
    axes = tuple(call.axis(axis, x.ndim, "axes") for axis in call.attributes.axes) or tuple(range(x.ndim))
    if len(set(axes)) != len(axes):
        raise call.refuse("axes", "an axis appears twice", given=str(list(call.attributes.axes)))
    if function in {_Function.FUNCTION_MEAN, _Function.FUNCTION_LOG_SUM_EXP}:
        x = call.floating()
        if function == _Function.FUNCTION_MEAN:
            return jnp.mean(x, axes, keepdims=keep)
        return jax.nn.logsumexp(widened(x), axes, keepdims=keep).astype(x.dtype)
    if x.dtype == jnp.bool_:
        raise call.refuse_input(0, "it takes numbers, not booleans", "Put a `cast` before it.")
    if function == _Function.FUNCTION_SUM:
        # A sum keeps its type, whatever JAX's default for small integers is.
        return jnp.sum(x, axes, dtype=x.dtype, keepdims=keep)
    return (jnp.max if function == _Function.FUNCTION_MAX else jnp.min)(x, axes, keepdims=keep)


@operation("cumulative")
def cumulative(call: Call[network_pb2.Cumulative]) -> Value:
    """The running sum, product or maximum along an axis, the element itself included."""
    function = _RUNNING.get(call.attributes.function)
    if function is None:
        raise Problem(Reason.MISSING_FIELD, "the function is not set", field=f"{call.node.field}.function")
    x = call.array()
    if x.dtype == jnp.bool_:
        raise call.refuse_input(0, "it takes numbers, not booleans", "Put a `cast` before it.")
    return function(x, axis=call.required_axis(x.ndim), reverse=call.attributes.reverse)

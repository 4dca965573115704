"""Functions of one tensor, element by element."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from gradserve.v1 import network_pb2
from gradserve_server.common.errors import Problem, Reason
from gradserve_server.compute.frontends.graph.call import Call, Value
from gradserve_server.compute.frontends.graph.table import operation
from gradserve_server.compute.ops.softmax import log_softmax, softmax
from gradserve_server.compute.precision import widened

_Function = network_pb2.Elementwise.Function
_FLOATING: dict[int, Callable[[jax.Array], jax.Array]] = {
    _Function.FUNCTION_GELU_TANH: lambda x: jax.nn.gelu(x, approximate=True),
    _Function.FUNCTION_GELU_EXACT: lambda x: jax.nn.gelu(x, approximate=False),
    _Function.FUNCTION_SILU: jax.nn.silu,
    _Function.FUNCTION_SIGMOID: jax.nn.sigmoid,
    _Function.FUNCTION_TANH: jnp.tanh,
    _Function.FUNCTION_SOFTPLUS: jax.nn.softplus,
    _Function.FUNCTION_EXP: jnp.exp,
    _Function.FUNCTION_LOG: jnp.log,
    _Function.FUNCTION_SQRT: jnp.sqrt,
    _Function.FUNCTION_SIN: jnp.sin,
    _Function.FUNCTION_COS: jnp.cos,
    _Function.FUNCTION_ERF: jax.lax.erf,
    _Function.FUNCTION_LOG_SIGMOID: jax.nn.log_sigmoid,
    _Function.FUNCTION_LOG1P: jnp.log1p,
    _Function.FUNCTION_EXPM1: jnp.expm1,
    _Function.FUNCTION_LOG_GAMMA: jax.lax.lgamma,
    _Function.FUNCTION_RSQRT: jax.lax.rsqrt,
}
_NUMERIC: dict[int, Callable[[jax.Array], jax.Array]] = {
    _Function.FUNCTION_RELU: jax.nn.relu,
    _Function.FUNCTION_SQUARE: jnp.square,
    _Function.FUNCTION_ABS: jnp.abs,
    _Function.FUNCTION_NEGATE: jnp.negative,
    _Function.FUNCTION_SIGN: jnp.sign,
    _Function.FUNCTION_STOP_GRADIENT: jax.lax.stop_gradient,
}
_WITH_ALPHA = {_Function.FUNCTION_LEAKY_RELU: 0.01, _Function.FUNCTION_ELU: 1.0}
_WITH_AXIS = {
    _Function.FUNCTION_SOFTMAX: softmax,
    _Function.FUNCTION_LOG_SOFTMAX: log_softmax,
}


@operation("elementwise")
def elementwise(call: Call[network_pb2.Elementwise]) -> Value:
    """The function that the node names."""
    function = call.attributes.function
    if call.attributes.HasField("alpha") and function not in _WITH_ALPHA:
        raise call.refuse("alpha", "this function has no alpha", given=_Function.Name(function))
    if call.attributes.HasField("axis") and function not in _WITH_AXIS:
        raise call.refuse("axis", "this function has no axis", given=_Function.Name(function))
    if function in _FLOATING:
        return _FLOATING[function](call.floating())
    if function in _NUMERIC:
        x = call.array()
        if x.dtype == jnp.bool_ and function != _Function.FUNCTION_STOP_GRADIENT:
            raise call.refuse_input(0, "it takes numbers, not booleans", "Put a `cast` before it.")
        return _NUMERIC[function](x)
    if function in _WITH_ALPHA:
        alpha = call.finite("alpha", _WITH_ALPHA[function])
        x = call.floating()
        return jax.nn.leaky_relu(x, alpha) if function == _Function.FUNCTION_LEAKY_RELU else jax.nn.elu(x, alpha)
    if function in _WITH_AXIS:
        x = call.floating()
        axis = call.axis(call.attributes.axis if call.attributes.HasField("axis") else -1, x.ndim, "axis")
        # In 16 bits its sum would lose what is small.
        return _WITH_AXIS[function](widened(x), axis=axis).astype(x.dtype)
    if function == _Function.FUNCTION_NOT:
        x = call.array()
        if x.dtype != jnp.bool_:
            raise call.refuse_input(0, "it takes booleans", expected="bool[...]")
        return jnp.logical_not(x)
    raise Problem(Reason.MISSING_FIELD, "the function is not set", field=f"{call.node.field}.function")

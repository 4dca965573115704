"""Layers that multiply by a kernel or look a table up."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from gradserve.v1 import network_pb2
from gradserve_server.compute.frontends.graph.call import Call, Value
from gradserve_server.compute.frontends.graph.table import operation
from gradserve_server.compute.initializers import LECUN_NORMAL, ZEROS


@operation("dense")
def dense(call: Call[network_pb2.Dense]) -> Value:
    """y = x W + b on the last axis."""
    x = call.floating()
    if x.ndim < 1:
        raise call.refuse_input(0, "it needs at least one axis")
    units = call.positive("units")
    kernel = call.parameter("kernel", (x.shape[-1], units), LECUN_NORMAL, call.attributes.kernel_initializer)
    y = jax.lax.dot_general(x, kernel, (((x.ndim - 1,), (0,)), ((), ())))
    if call.attributes.without_bias:
        return y
    bias = call.parameter("bias", (units,), ZEROS)
    return y + jnp.broadcast_to(bias, y.shape)

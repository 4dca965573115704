"""Pooling over the spatial axes of a channels-last tensor."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradserve.v1 import network_pb2
from gradserve_server.common.errors import Problem, Reason
from gradserve_server.compute.frontends.graph.call import Call, Value
from gradserve_server.compute.frontends.graph.table import operation
from gradserve_server.compute.frontends.graph.windows import read_window

_MAX, _MEAN = network_pb2.Pooling.FUNCTION_MAX, network_pb2.Pooling.FUNCTION_MEAN


@operation("pooling")
def pooling(call: Call[network_pb2.Pooling]) -> Value:
    """The largest or the mean of each window; of all of space, with its axes removed, if there is no window."""
    function = call.attributes.function
    if function not in (_MAX, _MEAN):
        raise Problem(Reason.MISSING_FIELD, "the function is not set", field=f"{call.node.field}.function")
    x = call.floating()
    spatial = x.ndim - 2
    if spatial < 1:
        raise call.refuse_input(0, "it needs spatial axes between batch and channels")
    axes = tuple(range(1, x.ndim - 1))
    if not call.attributes.HasField("window"):
        return jnp.max(x, axis=axes) if function == _MAX else jnp.mean(x, axis=axes)
    window = read_window(call, call.attributes.window, spatial, default_stride=None)
    shape: dict[str, Any] = {
        "window_dimensions": (1, *window.size, 1),
        "window_strides": (1, *window.stride, 1),
        "padding": window.padding,
        "window_dilation": (1, *window.dilation, 1),
    }
    if function == _MAX:
        return jnp.asarray(jax.lax.reduce_window(x, np.array(-np.inf, x.dtype), jax.lax.max, **shape))
    zero = np.array(0, x.dtype)
    total: jax.Array = jax.lax.reduce_window(x, zero, jax.lax.add, **shape)
    # Padding does not count: what is divided by is the number of real elements under the window.
    counts = jax.lax.reduce_window(jnp.ones_like(x[:1, ..., :1]), zero, jax.lax.add, **shape)
    return total / jnp.broadcast_to(counts, total.shape)

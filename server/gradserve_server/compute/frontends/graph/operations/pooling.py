"""Pooling over the spatial axes, channels last."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np

from gradserve.v1 import network_pb2
from gradserve_server.common.errors import Problem, Reason
from gradserve_server.compute.frontends.graph.call import Call, Value
from gradserve_server.compute.frontends.graph.table import operation
from gradserve_server.compute.frontends.graph.windows import Window, read_window
from gradserve_server.compute.ops import pooling as ops

_Function = network_pb2.Pooling.Function


@operation("pooling")
def pooling(call: Call[network_pb2.Pooling]) -> Value:
    """Largest or mean of each window; without a window, of all of space."""
    function = call.attributes.function
    if function == _Function.FUNCTION_UNSPECIFIED:
        raise Problem(Reason.MISSING_FIELD, "the function is not set", field=f"{call.node.field}.function")
    largest = function == _Function.FUNCTION_MAX
    x = call.array() if largest else call.floating()
    if x.dtype == jnp.bool_:
        raise call.refuse_input(0, "it takes numbers, not booleans", "Put a `cast` before it.")
    if x.ndim < 3:
        raise call.refuse_input(
            0, "it takes a batch axis, spatial axes and channels", expected="[batch, *space, channels]"
        )
    if not call.attributes.HasField("window"):
        axes = tuple(range(1, x.ndim - 1))
        return jnp.max(x, axes) if largest else jnp.mean(x, axes)
    space = x.shape[1:-1]
    window = read_window(call, call.attributes.window, space, stride_is_size=True)
    _check_reach(call, window, space)
    return ops.window_max(x, window) if largest else ops.window_mean(x, window)


def _check_reach(call: Call[network_pb2.Pooling], window: Window, space: tuple[Any, ...]) -> None:
    """Refuses window that see padding only, as a dilated one on a short axis may: they have no largest and no mean."""
    for index, (low, _, count) in enumerate(window.place(space)):
        size = space[index]
        if not (window.same and isinstance(size, int)) or window.dilation[index] == 1:
            continue
        starts = np.arange(count) * window.stride[index] - low
        # The first element of the window that is not before the axis.
        step = window.dilation[index]
        first = starts + -(-np.maximum(-starts, 0) // step) * step
        if np.any((first >= size) | (first > starts + window.extent[index] - 1)):
            raise call.refuse(
                "window.dilation",
                f"a window sees nothing but padding on spatial axis {index}",
                given=f"{_describe(window, index)} on {size} elements",
            )


def _describe(window: Window, index: int) -> str:
    """One axis of a window, as errors write it."""
    return f"size {window.size[index]}, dilation {window.dilation[index]}"

"""Layers that multiply by a kernel or look a table up."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from gradserve.v1 import network_pb2
from gradserve_server.compute.frontends.graph.call import Call, Value
from gradserve_server.compute.frontends.graph.table import operation
from gradserve_server.compute.frontends.graph.windows import read_window
from gradserve_server.compute.initializers import HE_NORMAL, LECUN_NORMAL, ZEROS, Initializer

# Variance 1 / features, as each row is one output of a one-hot input.
_EMBEDDING = Initializer("variance_scaling", 1.0, fan="fan_in", input_axis=-1, output_axis=-2)


@operation("dense")
def dense(call: Call[network_pb2.Dense]) -> Value:
    """Y = x W + b on the last axis."""
    x = call.floating()
    if x.ndim < 1:
        raise call.refuse_input(0, "it needs at least one axis")
    units = call.positive("units")
    kernel = call.parameter("kernel", (x.shape[-1], units), LECUN_NORMAL, call.attributes.kernel_initializer)
    y = jax.lax.dot_general(x, kernel, (((x.ndim - 1,), (0,)), ((), ())))
    return y if call.attributes.without_bias else _with_bias(call, y, units)


@operation("convolution")
def convolution(call: Call[network_pb2.Convolution]) -> Value:
    """Cross-correlation with a kernel over 1 to 3 spatial axes, channels last; or its transpose."""
    x = call.floating()
    spatial = x.ndim - 2
    if not 1 <= spatial <= 3:
        raise call.refuse_input(0, "it needs 1 to 3 spatial axes between batch and channels")
    attributes = call.attributes
    filters = call.positive("filters")
    space = x.shape[1:-1]
    # The transpose of a convolution makes space larger: there every window fits.
    window = read_window(call, attributes.window, space, stride_is_size=False, fits=not attributes.transposed)
    groups = attributes.groups or 1
    channels = x.shape[-1]
    if groups < 1 or filters % groups or channels % groups:
        raise call.refuse(
            "groups",
            "groups must divide the channels of input and result",
            given=str(groups),
            expected=f"a divisor of {channels} and {filters}",
        )
    kernel = call.parameter(
        "kernel", (*window.size, channels // groups, filters), HE_NORMAL, attributes.kernel_initializer
    )
    letters = "DHW"[-spatial:]
    numbers = (f"N{letters}C", f"{letters}IO", f"N{letters}C")
    if attributes.transposed:
        # As jax.lax.conv_transpose, which knows no groups.
        y = jax.lax.conv_general_dilated(
            x,
            kernel,
            (1,) * spatial,
            window.transposed_padding,
            lhs_dilation=window.stride,
            rhs_dilation=window.dilation,
            dimension_numbers=numbers,
            feature_group_count=groups,
        )
    else:
        y = jax.lax.conv_general_dilated(
            x,
            kernel,
            window.stride,
            window.rule,
            rhs_dilation=window.dilation,
            dimension_numbers=numbers,
            feature_group_count=groups,
        )
    return y if attributes.without_bias else _with_bias(call, y, filters)


@operation("embedding")
def embedding(call: Call[network_pb2.Embedding]) -> Value:
    """The rows of a table that integers name."""
    rows, features = call.positive("rows"), call.positive("features")
    indices = call.check_index(0, rows)
    table = call.parameter("table", (rows, features), _EMBEDDING)
    return jnp.take(table, indices, axis=0, mode="clip")


def _with_bias(call: Call[network_pb2.Dense] | Call[network_pb2.Convolution], y: jax.Array, size: int) -> jax.Array:
    bias = call.parameter("bias", (size,), ZEROS)
    return y + jnp.broadcast_to(bias, y.shape)

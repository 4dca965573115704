"""Convolutions, channels first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from gradserve_server.compute.frontends.onnx.call import Call
from gradserve_server.compute.frontends.onnx.operators.windows import read_windows
from gradserve_server.compute.frontends.onnx.table import Value, operator


def convolve(call: Call, x: jax.Array, kernel: jax.Array, **options: Any) -> jax.Array:
    """Cross-correlation of x [batch, channels, *space] with kernel [features, channels / groups, *window]."""
    if x.ndim < 3 or kernel.ndim != x.ndim:
        raise call.refuse("input and kernel should have a batch, channels and space")
    declared = call.attributes.get("kernel_shape")
    if declared is not None and tuple(declared) != tuple(kernel.shape[2:]):
        raise call.refuse("the kernel is not of the declared shape", given=str(kernel.shape), expected=str(declared))
    windows = read_windows(call, x.shape[2:], kernel.shape[2:])
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        windows.stride,
        windows.padding,
        rhs_dilation=windows.dilation,
        dimension_numbers=_numbers(x.ndim),
        feature_group_count=call.attribute("group", 1),
        **options,
    )


def _numbers(rank: int) -> jax.lax.ConvDimensionNumbers:
    axes = tuple(range(rank))
    return jax.lax.ConvDimensionNumbers(axes, axes, axes)


def with_bias(y: jax.Array, bias: jax.Array | None) -> jax.Array:
    """Y [batch, channels, *space] plus one number for each channel."""
    return y if bias is None else y + bias.reshape(1, -1, *(1 for _ in range(y.ndim - 2)))


@operator("Conv", 1, 11, 22)
def convolution(call: Call) -> Value:
    return with_bias(convolve(call, call.input(0), call.input(1)), call.optional(2))


@operator("ConvTranspose", 1, 11, 22)
def transposed_convolution(call: Call) -> Value:
    x, kernel = call.input(0), call.input(1)
    groups = call.attribute("group", 1)
    window = kernel.shape[2:]
    rank = len(window)
    stride = tuple(call.attributes.get("strides") or (1,) * rank)
    dilation = tuple(call.attributes.get("dilations") or (1,) * rank)
    more = tuple(call.attributes.get("output_padding") or (0,) * rank)
    pads = _transposed_pads(call, x.shape[2:], window, stride, dilation, more)
    channels, features = kernel.shape[0], kernel.shape[1]
    grouped = kernel.reshape(groups, channels // groups, features, *window)
    flipped = jnp.flip(
        jnp.swapaxes(grouped, 1, 2).reshape(groups * features, channels // groups, *window), tuple(range(2, 2 + rank))
    )
    extents = [(size - 1) * step for size, step in zip(window, dilation, strict=True)]
    padding = [
        (extent - low, extent - high + extra) for extent, (low, high), extra in zip(extents, pads, more, strict=True)
    ]
    y = jax.lax.conv_general_dilated(
        x,
        flipped,
        (1,) * rank,
        padding,
        lhs_dilation=stride,
        rhs_dilation=dilation,
        dimension_numbers=_numbers(x.ndim),
        feature_group_count=groups,
    )
    return with_bias(y, call.optional(2))


def _transposed_pads(
    call: Call,
    space: Sequence[Any],
    window: Sequence[int],
    stride: Sequence[int],
    dilation: Sequence[int],
    more: Sequence[int],
) -> list[tuple[Any, Any]]:
    """How much is cut off before and after each axis."""
    rank = len(window)
    automatic = call.attribute("auto_pad", "NOTSET")
    wanted = call.attributes.get("output_shape")
    if wanted is None and automatic in ("SAME_UPPER", "SAME_LOWER"):
        wanted = [size * step for size, step in zip(space, stride, strict=True)]
    if wanted is None:
        pads = call.attributes.get("pads") or (0,) * (2 * rank)
        if automatic == "VALID":
            pads = (0,) * (2 * rank)
        return [(pads[axis], pads[rank + axis]) for axis in range(rank)]
    found = []
    for axis, size in enumerate(list(wanted)[-rank:]):
        extent = (window[axis] - 1) * dilation[axis] + 1
        total = stride[axis] * (space[axis] - 1) + more[axis] + extent - size
        if isinstance(total, int) and total < 0:
            # More is asked for than there is: zeros after it.
            found.append((0, total))
            continue
        less = total // 2
        found.append((less, total - less) if automatic == "SAME_UPPER" else (total - less, less))
    return found


@operator("ConvInteger", 10)
def integer_convolution(call: Call) -> Value:
    x, kernel = call.input(0), call.input(1)
    return convolve(call, _centred(x, call.optional(2)), _centred(kernel, call.optional(3)))


def _centred(x: jax.Array, zero_point: jax.Array | None) -> jax.Array:
    wide = x.astype(jnp.int32)
    if zero_point is None:
        return wide
    zero = zero_point.astype(jnp.int32)
    return wide - (zero.reshape(-1, *(1 for _ in range(x.ndim - 1))) if zero.ndim else zero)


@operator("CausalConvWithState", 27)
def causal_convolution(call: Call) -> Value:
    x, kernel = call.input(0), call.input(1)
    batch, channels, _ = x.shape
    before = kernel.shape[-1] - 1
    past = call.input(3) if call.has(3) else jnp.zeros((batch, channels, before), x.dtype)
    whole = jnp.concatenate([past, x], 2)
    y = jax.lax.conv_general_dilated(
        whole, kernel, (1,), "VALID", dimension_numbers=_numbers(3), feature_group_count=channels
    )
    y = with_bias(y, call.optional(2))
    activation = call.attribute("activation", "none")
    if activation in ("silu", "swish"):
        y = jax.nn.silu(y)
    elif activation != "none":
        raise call.unsupported("this activation is not known", given=activation)
    return [y, whole[:, :, whole.shape[2] - before :]]


@operator("Col2Im", 18, static=(1, 2))
def columns_to_image(call: Call) -> Value:
    x = call.input(0)
    image, block = call.sizes(1), call.sizes(2)
    rank = len(image)
    windows = read_windows(call, image, block)
    batch = x.shape[0]
    channels = x.shape[1] // _product(block)
    columns = x.reshape(batch, channels, *block, *windows.counts)
    padded = [size + low + high for size, (low, high) in zip(image, windows.padding, strict=True)]
    call.check_sizes((batch, channels, *padded))
    places = []
    for axis in range(rank):
        offsets = jnp.arange(block[axis]) * windows.dilation[axis]
        starts = jnp.arange(windows.counts[axis]) * windows.stride[axis]
        shape = [1] * (2 * rank)
        shape[axis], shape[rank + axis] = block[axis], windows.counts[axis]
        places.append((offsets[:, None] + starts[None, :]).reshape(shape))
    everything = (slice(None), slice(None))
    y = jnp.zeros((batch, channels, *padded), x.dtype).at[(*everything, *places)].add(columns)
    inside = tuple(slice(low, low + size) for size, (low, _) in zip(image, windows.padding, strict=True))
    return y[(*everything, *inside)]


def _product(sizes: Sequence[int]) -> int:
    total = 1
    for size in sizes:
        total *= size
    return total


@operator("DeformConv", 19, 22)
def deformable_convolution(call: Call) -> Value:
    x, kernel, offset = call.input(0), call.input(1), call.input(2)
    if x.ndim != 4:
        raise call.unsupported("only images of two axes are served")
    batch, channels = x.shape[:2]
    features, per_group, *window = kernel.shape
    groups, parts = call.attribute("group", 1), call.attribute("offset_group", 1)
    windows = read_windows(call, x.shape[2:], window)
    counts = windows.counts
    taps = window[0] * window[1]
    shifts = offset.reshape(batch, parts, *window, 2, *counts)
    places = []
    for axis in range(2):
        low = windows.padding[axis][0]
        starts = jnp.arange(counts[axis]) * windows.stride[axis] - low
        taps_of_axis = jnp.arange(window[axis]) * windows.dilation[axis]
        shape = [1, 1, 1, 1, 1, 1]
        shape[2 + axis], shape[4 + axis] = window[axis], counts[axis]
        regular = (taps_of_axis[:, None] + starts[None, :]).reshape(shape).astype(x.dtype)
        places.append(regular + shifts[:, :, :, :, axis])
    images = x.reshape(batch, parts, channels // parts, *x.shape[2:])
    sampled = jax.vmap(jax.vmap(_bilinear))(images, places[0], places[1])
    if call.has(4):
        sampled = sampled * call.input(4).reshape(batch, parts, 1, *window, *counts)
    columns = sampled.reshape(batch, groups, channels // groups * taps, *counts)
    weights = kernel.reshape(groups, features // groups, per_group * taps)
    y = jnp.einsum("bgkhw,gfk->bgfhw", columns, weights).reshape(batch, features, *counts)
    return with_bias(y, call.optional(3))


def _bilinear(image: jax.Array, rows: jax.Array, columns: jax.Array) -> jax.Array:
    """Values of image [channels, height, width] between its elements, zero outside: [channels, *rows.shape]."""
    height, width = image.shape[1:]
    top, left = jnp.floor(rows), jnp.floor(columns)
    total = jnp.zeros((), image.dtype)
    for row in (top, top + 1):
        for column in (left, left + 1):
            weight = (1 - jnp.abs(rows - row)) * (1 - jnp.abs(columns - column))
            inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
            at = image[
                :, jnp.clip(row, 0, height - 1).astype(jnp.int32), jnp.clip(column, 0, width - 1).astype(jnp.int32)
            ]
            total = total + jnp.where(inside, weight, 0) * at
    return total

"""Pooling over sliding windows and over all of space, channels first."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradserve_server.compute.frontends.onnx.call import Call
from gradserve_server.compute.frontends.onnx.operators.windows import Windows, read_windows
from gradserve_server.compute.frontends.onnx.table import Value, operator
from gradserve_server.compute.ops.pooling import window_max


def _flat(x: jax.Array) -> jax.Array:
    """X [batch, channels, *space] as [batch * channels, *space, 1]: windows see each channel by itself."""
    return x.reshape(x.shape[0] * x.shape[1], *x.shape[2:], 1)


def _unflat(y: jax.Array, x: jax.Array) -> jax.Array:
    return y.reshape(*x.shape[:2], *y.shape[1:-1])


def _input(call: Call) -> jax.Array:
    x: jax.Array = call.input(0)
    if x.ndim < 3:
        raise call.refuse("the input should have a batch, channels and space")
    return x


@operator("MaxPool", 1, 8, 10, 11, 12, 22)
def max_pool(call: Call) -> Value:
    x = _input(call)
    windows = read_windows(call, x.shape[2:])
    y = _unflat(window_max(_flat(x), windows), x)
    if len(call.node.outputs) < 2 or not call.node.outputs[1]:
        return y
    return [y, _largest(x, windows, column_major=bool(call.attribute("storage_order", 0)))]


def _largest(x: jax.Array, windows: Windows, *, column_major: bool) -> jax.Array:
    """For each window the place of its first largest element in all of x, counted row by row."""
    space = x.shape[2:]
    rank = len(space)
    places, inside = [], jnp.asarray(True)
    for axis in range(rank):
        starts = jnp.arange(windows.counts[axis]) * windows.stride[axis] - windows.padding[axis][0]
        at = starts[:, None] + jnp.arange(windows.size[axis]) * windows.dilation[axis]
        shape = [1] * (2 * rank)
        shape[axis], shape[rank + axis] = at.shape
        at = at.reshape(shape)
        inside = inside & (at >= 0) & (at < space[axis])
        places.append(jnp.clip(at, 0, space[axis] - 1))
    elements = x[(slice(None), slice(None), *places)]
    lowest = -jnp.inf if jnp.issubdtype(x.dtype, jnp.floating) else np.iinfo(x.dtype).min
    elements = jnp.where(inside, elements, jnp.asarray(lowest, x.dtype))
    flat = elements.reshape(*x.shape[:2], *windows.counts, math.prod(windows.size))
    best = jnp.argmax(flat, -1)
    strides = [math.prod(space[:axis] if column_major else space[axis + 1 :]) for axis in range(rank)]
    total: jax.Array = sum(
        (place * stride for place, stride in zip(places, strides, strict=True)), start=jnp.zeros((), jnp.int64)
    )
    total = jnp.broadcast_to(total, elements.shape[2:]).reshape(*windows.counts, math.prod(windows.size))
    chosen = jnp.take_along_axis(jnp.broadcast_to(total, flat.shape), best[..., None], -1)[..., 0]
    planes = jnp.arange(x.shape[0] * x.shape[1]).reshape(*x.shape[:2], *(1 for _ in range(rank)))
    return chosen + planes * math.prod(space)


def _sum(x: jax.Array, windows: Windows) -> jax.Array:
    total: jax.Array = jax.lax.reduce_window(
        x,
        np.zeros((), x.dtype),
        jax.lax.add,
        (1, 1, *windows.size),
        (1, 1, *windows.stride),
        [(0, 0), (0, 0), *windows.padding],
        window_dilation=(1, 1, *windows.dilation),
    )
    return total


@operator("AveragePool", 1, 7, 10, 11, 19, 22)
def average_pool(call: Call) -> Value:
    x = _input(call)
    windows = read_windows(call, x.shape[2:])
    y = _sum(x, windows)
    with_padding = bool(call.attribute("count_include_pad", 0))
    for axis, size in enumerate(x.shape[2:]):
        low = windows.padding[axis][0]
        first, end = (-low, size + windows.declared[axis]) if with_padding else (0, size)
        counts = _counts(windows, axis, low, first, end)
        shape = [1] * y.ndim
        shape[2 + axis] = counts.shape[0]
        y = y / counts.reshape(shape).astype(y.dtype)
    return y


def _counts(windows: Windows, axis: int, low: Any, first: Any, end: Any) -> jax.Array:
    """For each window along `axis`, how many of its elements lie from `first` to before `end`."""
    step = windows.dilation[axis]
    starts = jnp.arange(windows.counts[axis]) * windows.stride[axis] - low
    before = (jnp.maximum(first - starts, 0) + step - 1) // step
    last = jnp.minimum((end - 1 - starts) // step, windows.size[axis] - 1)
    return last - before + 1


def _root(total: jax.Array, p: int) -> jax.Array:
    """The p-th root of what is not negative, with a gradient of zero at zero."""
    positive = total > 0
    return jnp.where(positive, jnp.power(jnp.where(positive, total, 1), 1 / p), jax.lax.stop_gradient(total))


@operator("LpPool", 2, 11, 18, 22)
def lp_pool(call: Call) -> Value:
    x = _input(call)
    p = call.attribute("p", 2)
    return _root(_sum(jax.lax.integer_pow(jnp.abs(x), p), read_windows(call, x.shape[2:])), p)


def _space(x: jax.Array) -> tuple[int, ...]:
    return tuple(range(2, x.ndim))


@operator("GlobalAveragePool", 1, 22)
def global_average_pool(call: Call) -> Value:
    x = _input(call)
    return jnp.mean(x, _space(x), keepdims=True)


@operator("GlobalMaxPool", 1, 22)
def global_max_pool(call: Call) -> Value:
    x = _input(call)
    return jnp.max(x, _space(x), keepdims=True)


@operator("GlobalLpPool", 2, 22)
def global_lp_pool(call: Call) -> Value:
    x = _input(call)
    p = call.attribute("p", 2)
    return _root(jnp.sum(jax.lax.integer_pow(jnp.abs(x), p), _space(x), keepdims=True), p)


@operator("MaxUnpool", 9, 11, 22, static=(2,))
def max_unpool(call: Call) -> Value:
    x, indices = _input(call), call.input(1)
    rank = x.ndim - 2
    kernel = call.attribute("kernel_shape")
    strides = call.attributes.get("strides") or (1,) * rank
    pads = call.attributes.get("pads") or (0,) * (2 * rank)
    # Indices count in the input of the pooling that is undone.
    inferred = tuple(
        (size - 1) * strides[axis] + kernel[axis] - pads[axis] - pads[rank + axis]
        for axis, size in enumerate(x.shape[2:])
    )
    space = call.sizes(2)[-rank:] if call.has(2) else inferred
    shape = (*x.shape[:2], *inferred)
    call.check_sizes(shape)
    call.check_sizes((*x.shape[:2], *space))
    flat = jnp.zeros((math.prod(shape),), x.dtype).at[indices.reshape(-1)].set(x.reshape(-1))
    y = flat.reshape(shape)
    if space == inferred:
        return y
    return jnp.pad(y, [(0, 0), (0, 0), *((0, wanted - size) for wanted, size in zip(space, inferred, strict=True))])

"""Normalizations."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from onnx import TensorProto

from gradserve_server.compute.frontends.onnx.call import Call
from gradserve_server.compute.frontends.onnx.operators.reduction import safe_sqrt
from gradserve_server.compute.frontends.onnx.table import Value, operator
from gradserve_server.compute.ops.softmax import log_softmax, softmax


def _by_channel(values: jax.Array, rank: int) -> jax.Array:
    return values.reshape(1, -1, *(1 for _ in range(rank - 2)))


@operator("BatchNormalization", 6, 7, 9, 14, 15)
def batch_normalization(call: Call) -> Value:
    x, scale, bias, mean, variance = (call.input(index) for index in range(5))
    epsilon, momentum = call.attribute("epsilon", 1e-5), call.attribute("momentum", 0.9)
    if not call.attribute("spatial", 1):
        raise call.unsupported("statistics for each place are not served")
    if call.version < 7:
        trains = not call.attribute("is_test", 0)
    elif call.version < 14:
        trains = len(call.node.outputs) > 1
    else:
        trains = bool(call.attribute("training_mode", 0))
    if not trains:
        return _normalized(x, scale, bias, mean, variance, epsilon)
    axes = (0, *range(2, x.ndim))
    wide = x.astype(np.promote_types(x.dtype, mean.dtype))
    own = jnp.mean(wide, axes), jnp.var(wide, axes)
    running = [
        old * momentum + new.astype(old.dtype) * (1 - momentum) for old, new in zip((mean, variance), own, strict=True)
    ]
    return [_normalized(x, scale, bias, *own, epsilon), *running, *own][: len(call.node.outputs)]


def _normalized(x: jax.Array, scale: Any, bias: Any, mean: Any, variance: Any, epsilon: float) -> jax.Array:
    dtype = np.promote_types(x.dtype, np.promote_types(mean.dtype, scale.dtype))
    scale, bias, mean, variance = (_by_channel(one.astype(dtype), x.ndim) for one in (scale, bias, mean, variance))
    y: jax.Array = (x.astype(dtype) - mean) * (scale * jax.lax.rsqrt(variance + epsilon)) + bias
    return y.astype(x.dtype)


def _standard(x: jax.Array, axes: tuple[int, ...], epsilon: float) -> jax.Array:
    centred = x - jnp.mean(x, axes, keepdims=True)
    return centred * jax.lax.rsqrt(jnp.mean(jnp.square(centred), axes, keepdims=True) + epsilon)


@operator("InstanceNormalization", 6, 22)
def instance_normalization(call: Call) -> Value:
    x, scale, bias = call.input(0), call.input(1), call.input(2)
    y = _standard(x, tuple(range(2, x.ndim)), call.attribute("epsilon", 1e-5))
    return y * _by_channel(scale, x.ndim) + _by_channel(bias, x.ndim)


@operator("GroupNormalization", 18, 21)
def group_normalization(call: Call) -> Value:
    x, scale, bias = call.input(0), call.input(1), call.input(2)
    groups = call.attribute("num_groups")
    batch, channels = x.shape[:2]
    dtype = call.dtype(call.attribute("stash_type", TensorProto.FLOAT)) if call.version > 18 else x.dtype
    grouped = x.astype(np.promote_types(dtype, x.dtype)).reshape(batch, groups, -1)
    y = _standard(grouped, (2,), call.attribute("epsilon", 1e-5)).reshape(x.shape).astype(x.dtype)
    if call.version == 18:
        # One number for each group.
        scale, bias = (jnp.repeat(one, channels // groups) for one in (scale, bias))
    return y * _by_channel(scale, x.ndim) + _by_channel(bias, x.ndim)


@operator("LayerNormalization", 17)
def layer_normalization(call: Call) -> Value:
    x, scale = call.input(0), call.input(1)
    axis = call.axis(call.attribute("axis", -1), x.ndim)
    axes = tuple(range(axis, x.ndim))
    dtype = np.promote_types(call.dtype(call.attribute("stash_type", TensorProto.FLOAT)), x.dtype)
    wide = x.astype(dtype)
    mean = jnp.mean(wide, axes, keepdims=True)
    centred = wide - mean
    inverse = jax.lax.rsqrt(jnp.mean(jnp.square(centred), axes, keepdims=True) + call.attribute("epsilon", 1e-5))
    y = (centred * inverse).astype(x.dtype) * scale
    if call.has(2):
        y = y + call.input(2)
    return [y, mean, inverse][: len(call.node.outputs)]


@operator("RMSNormalization", 23)
def root_mean_square_normalization(call: Call) -> Value:
    x, scale = call.input(0), call.input(1)
    axis = call.axis(call.attribute("axis", -1), x.ndim)
    dtype = np.promote_types(call.dtype(call.attribute("stash_type", TensorProto.FLOAT)), x.dtype)
    wide = x.astype(dtype)
    square = jnp.mean(jnp.square(wide), tuple(range(axis, x.ndim)), keepdims=True)
    return (wide * jax.lax.rsqrt(square + call.attribute("epsilon", 1e-5))).astype(x.dtype) * scale


@operator("LRN", 1, 13)
def local_response_normalization(call: Call) -> Value:
    x = call.input(0)
    size = call.attribute("size")
    alpha, beta, bias = call.attribute("alpha", 1e-4), call.attribute("beta", 0.75), call.attribute("bias", 1.0)
    before = (size - 1) // 2
    padding = [(0, 0), (before, size - 1 - before), *((0, 0) for _ in x.shape[2:])]
    windows = (1, size, *(1 for _ in x.shape[2:]))
    squares = jax.lax.reduce_window(jnp.square(x), np.zeros((), x.dtype), jax.lax.add, windows, (1,) * x.ndim, padding)
    return x / jnp.power(bias + alpha / size * squares, beta)


@operator("LpNormalization", 1, 22)
def lp_normalization(call: Call) -> Value:
    x = call.input(0)
    axis = call.axis(call.attribute("axis", -1), x.ndim)
    if call.attribute("p", 2) == 1:
        norm = jnp.sum(jnp.abs(x), axis, keepdims=True)
    else:
        norm = safe_sqrt(jnp.sum(jnp.square(x), axis, keepdims=True))
    zero = norm == 0
    return jnp.where(zero, jnp.zeros_like(x), x / jnp.where(zero, jnp.ones_like(norm), norm))


@operator("MeanVarianceNormalization", 9, 13)
def mean_variance_normalization(call: Call) -> Value:
    x = call.input(0)
    axes = call.axes(call.attribute("axes", (0, 2, 3)), x.ndim)
    centred = x - jnp.mean(x, axes, keepdims=True)
    return centred / (safe_sqrt(jnp.mean(jnp.square(centred), axes, keepdims=True)) + 1e-9)


@operator("Softmax", 13)
def softmax_of_axis(call: Call) -> Value:
    return softmax(call.input(0), call.attribute("axis", -1))


@operator("LogSoftmax", 13)
def log_softmax_of_axis(call: Call) -> Value:
    return log_softmax(call.input(0), call.attribute("axis", -1))


@operator("Hardmax", 13)
def hardmax(call: Call) -> Value:
    return _hardmax(call.input(0), call.attribute("axis", -1))


def _hardmax(x: jax.Array, axis: int) -> jax.Array:
    return jax.nn.one_hot(jnp.argmax(x, axis), x.shape[axis], dtype=x.dtype, axis=axis)


def _as_rows(call: Call) -> tuple[jax.Array, jax.Array]:
    """The input, and the same with all axes from `axis` on made one, as versions before 13 look at it."""
    x = call.input(0)
    axis = call.axis(call.attribute("axis", 1), x.ndim)
    return x, x.reshape(math.prod(x.shape[:axis]), math.prod(x.shape[axis:]))


@operator("Softmax", 1, 11)
def softmax_of_rows(call: Call) -> Value:
    x, rows = _as_rows(call)
    return softmax(rows, 1).reshape(x.shape)


@operator("LogSoftmax", 1, 11)
def log_softmax_of_rows(call: Call) -> Value:
    x, rows = _as_rows(call)
    return log_softmax(rows, 1).reshape(x.shape)


@operator("Hardmax", 1, 11)
def hardmax_of_rows(call: Call) -> Value:
    x, rows = _as_rows(call)
    return _hardmax(rows, 1).reshape(x.shape)

"""Integers with a scale."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from onnx import TensorProto

from gradserve_server.compute.frontends.onnx.call import Call
from gradserve_server.compute.frontends.onnx.operators.convolution import convolve
from gradserve_server.compute.frontends.onnx.table import Value, operator


def _along(call: Call, scale: jax.Array, x: jax.Array) -> jax.Array:
    """`scale` in a shape that broadcasts to that of x: one for all, one for each element of an axis, or of a block."""
    if scale.ndim == 0 or (scale.ndim == 1 and scale.shape[0] == 1):
        return scale.reshape(())
    axis = call.axis(call.attribute("axis", 1), x.ndim)
    if scale.ndim == 1:
        shape = [1] * x.ndim
        shape[axis] = scale.shape[0]
        return scale.reshape(shape)
    block = call.attribute("block_size", 0)
    if not block:
        raise call.refuse("scales for blocks need a block_size")
    repeated = jnp.repeat(scale, block, axis)
    return jax.lax.slice_in_dim(repeated, 0, x.shape[axis], axis=axis)


def _saturated(values: jax.Array, dtype: Any) -> jax.Array:
    bounds = np.iinfo(dtype)
    return jnp.clip(values, bounds.min, bounds.max).astype(dtype)


@operator("QuantizeLinear", 10, 13, 19, 21, 23, 24, 25, 28)
def quantize(call: Call) -> Value:
    x, scale = call.input(0), call.input(1)
    number = call.attribute("output_dtype", 0)
    zero = call.optional(2)
    dtype = zero.dtype if zero is not None else call.dtype(number or TensorProto.UINT8)
    precision = call.attribute("precision", 0)
    wide = call.dtype(precision) if precision else scale.dtype
    scaled = jnp.round(x.astype(wide) / _along(call, scale, x).astype(wide)).astype(jnp.float64)
    if zero is not None:
        scaled = scaled + _along(call, zero, x).astype(jnp.float64)
    return _saturated(scaled, dtype)


@operator("DequantizeLinear", 10, 13, 19, 21, 23, 24, 25, 28)
def dequantize(call: Call) -> Value:
    x, scale = call.input(0), call.input(1)
    number = call.attribute("output_dtype", 0)
    dtype = call.dtype(number) if number else scale.dtype
    wide = x.astype(jnp.int32)
    if call.has(2):
        wide = wide - _along(call, call.input(2), x).astype(jnp.int32)
    return wide.astype(dtype) * _along(call, scale, x).astype(dtype)


@operator("DynamicQuantizeLinear", 11)
def quantize_by_range(call: Call) -> Value:
    x = call.input(0)
    least, most = jnp.minimum(jnp.min(x), 0), jnp.maximum(jnp.max(x), 0)
    scale = (most - least) / 255
    safe = jnp.where(scale == 0, jnp.ones_like(scale), scale)
    zero = jnp.clip(jnp.round(-least / safe), 0, 255)
    y = jnp.clip(jnp.round(x / safe) + zero, 0, 255)
    return [y.astype(jnp.uint8), scale, zero.astype(jnp.uint8)]


def _centred(x: jax.Array, zero: jax.Array | None) -> jax.Array:
    wide = x.astype(jnp.int32)
    return wide if zero is None else wide - zero.astype(jnp.int32)


@operator("MatMulInteger", 10)
def integer_product(call: Call) -> Value:
    a, b = call.input(0), call.input(1)
    zero_a, zero_b = call.optional(2), call.optional(3)
    # One zero point for each row of the first matrix, or column of the second.
    if zero_a is not None and zero_a.ndim == 1:
        zero_a = zero_a[:, None]
    return jnp.matmul(_centred(a, zero_a), _centred(b, zero_b))


@operator("QLinearMatMul", 10, 21)
def quantized_product(call: Call) -> Value:
    a, a_scale, a_zero, b, b_scale, b_zero, y_scale, y_zero = (call.input(index) for index in range(8))
    if a_zero.ndim == 1 and a_zero.size > 1:
        a_zero, a_scale = a_zero[:, None], a_scale[:, None]
    product = jnp.matmul(_centred(a, a_zero), _centred(b, b_zero))
    scale = a_scale.astype(jnp.float32) * b_scale.astype(jnp.float32) / y_scale.astype(jnp.float32)
    return _requantized(product, scale, y_zero)


def _requantized(x: jax.Array, scale: jax.Array, zero: jax.Array) -> jax.Array:
    rounded = jnp.round(x.astype(jnp.float64) * scale.astype(jnp.float64))
    return _saturated(rounded + zero.astype(jnp.float64), zero.dtype)


@operator("QLinearConv", 10)
def quantized_convolution(call: Call) -> Value:
    x, x_scale, x_zero, kernel, kernel_scale, kernel_zero, y_scale, y_zero = (call.input(index) for index in range(8))
    across = (-1, *(1 for _ in kernel.shape[1:]))
    kernel_zero = kernel_zero.reshape(across) if kernel_zero.size > 1 else kernel_zero.reshape(())
    y = convolve(call, _centred(x, x_zero), _centred(kernel, kernel_zero))
    channels = (1, -1, *(1 for _ in y.shape[2:]))
    if call.has(8):
        y = y + call.input(8).reshape(channels)
    kernel_scale = kernel_scale.reshape(channels) if kernel_scale.size > 1 else kernel_scale.reshape(())
    return _requantized(y, x_scale * kernel_scale / y_scale, y_zero)

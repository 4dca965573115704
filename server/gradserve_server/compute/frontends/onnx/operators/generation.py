"""Tensors out of nothing, or of no more than a shape."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from onnx import TensorProto

from gradserve_server.compute.frontends.onnx import bounds
from gradserve_server.compute.frontends.onnx.call import Call
from gradserve_server.compute.frontends.onnx.table import Value, operator


@operator("Constant", 1, 9, 11, 12, 13, 19, 21, 23, 24, 25, folds=True)
def constant(call: Call) -> Value:
    attributes = call.attributes
    if "value" in attributes:
        return call.frame.constant(attributes["value"])
    for name, kind in (
        ("value_int", np.int64),
        ("value_ints", np.int64),
        ("value_float", None),
        ("value_floats", None),
    ):
        if name in attributes:
            dtype = call.dtype(TensorProto.FLOAT) if kind is None else kind
            return np.asarray(attributes[name], dtype)
    raise call.unsupported("a constant that is no dense tensor of numbers", given=", ".join(attributes))


@operator("ConstantOfShape", 9, 20, 21, 23, 24, 25, static=(0,), folds=True)
def constant_of_shape(call: Call) -> Value:
    shape = call.sizes(0)
    value = call.attributes.get("value")
    value = np.zeros(1, call.dtype(TensorProto.FLOAT)) if value is None else call.frame.constant(value)
    if value.size != 1:
        raise call.refuse("its value should be one element", given=str(value.shape))
    return filled(call, shape, value.reshape(()))


def filled(call: Call, shape: tuple[Any, ...], value: np.ndarray[Any, Any]) -> Value:
    """`value` everywhere: known at tracing if it is small."""
    if any(isinstance(size, int) and size < 0 for size in shape):
        raise call.refuse("a size is negative", given=str(shape))
    call.check_sizes(shape)
    if all(isinstance(size, int) for size in shape) and math.prod(shape) <= bounds.FOLDED_ELEMENTS:
        return np.full(shape, value)
    return jnp.full(shape, value)


@operator("Range", 11, 27, static=(0, 1, 2), folds=True)
def range_(call: Call) -> Value:
    start, limit, step = (call.number(index, None) for index in range(3))
    array = call.static(0)
    dtype = np.dtype(np.int64) if array.dtype == object else array.dtype
    if step == 0:
        raise call.refuse("the step is 0")
    if all(isinstance(one, (int, float)) for one in (start, limit, step)):
        count = max(0, math.ceil((limit - start) / step))
        call.check_sizes((count,))
        if count <= bounds.FOLDED_ELEMENTS:
            return (start + np.arange(count) * step).astype(dtype)
    elif step == 1:
        count = limit - start
    else:
        count = -((start - limit) // step)
    numbers = jax.lax.iota(np.int64, count)
    return (numbers.astype(dtype) * np.asarray(step, dtype) + jnp.asarray(start).astype(dtype)).astype(dtype)


@operator("EyeLike", 9, 22, forms_only=(0,))
def eye_like(call: Call) -> Value:
    like = call.inputs[0]
    number = call.attributes.get("dtype")
    dtype = like.dtype if number is None else call.dtype(number)
    rows, columns = like.shape
    return jnp.eye(rows, columns, call.attribute("k", 0), dtype)


@operator("OneHot", 9, 11, 28, static=(1,))
def one_hot(call: Call) -> Value:
    indices, values = call.input(0), call.input(2)
    depth = int(call.number(1, None))
    axis = call.axis(call.attribute("axis", -1), indices.ndim + 1)
    call.check_sizes((*indices.shape, depth))
    indices = indices.astype(jnp.int64)
    wrapped = jnp.where(indices < 0, indices + depth, indices)
    shape = [1] * (indices.ndim + 1)
    shape[axis] = depth
    hot = jnp.expand_dims(wrapped, axis) == jnp.arange(depth, dtype=jnp.int64).reshape(shape)
    return jnp.where(hot, values[1], values[0])


@operator("Trilu", 14, static=(1,))
def triangle(call: Call) -> Value:
    x = call.input(0)
    k = int(call.number(1, 0))
    rows, columns = x.shape[-2:]
    k = max(-rows, min(k, columns)) if isinstance(rows, int) and isinstance(columns, int) else k
    return jnp.triu(x, k) if call.attribute("upper", 1) else jnp.tril(x, k)

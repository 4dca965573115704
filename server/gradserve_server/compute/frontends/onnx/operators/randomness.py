"""Random numbers, from the request's seed or the node's own."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from onnx import TensorProto

from gradserve_server.compute.frontends.onnx.call import Call
from gradserve_server.compute.frontends.onnx.table import Value, operator


def _shape_and_type(call: Call) -> tuple[tuple[Any, ...], Any]:
    """Those of the input, if there is one; else those of the attributes."""
    number = call.attributes.get("dtype")
    if not call.node.inputs:
        shape = tuple(call.attribute("shape"))
        call.check_sizes(shape)
        return shape, call.dtype(number or TensorProto.FLOAT)
    like = call.inputs[0]
    return tuple(like.shape), like.dtype if number is None else call.dtype(number)


@operator("RandomNormal", 1, 22)
@operator("RandomNormalLike", 1, 22, forms_only=(0,))
def normal(call: Call) -> Value:
    shape, dtype = _shape_and_type(call)
    deviation = np.asarray(call.attribute("scale", 1.0), dtype)
    return jax.random.normal(call.key(), shape, dtype) * deviation + np.asarray(call.attribute("mean", 0.0), dtype)


@operator("RandomUniform", 1, 22)
@operator("RandomUniformLike", 1, 22, forms_only=(0,))
def uniform(call: Call) -> Value:
    shape, dtype = _shape_and_type(call)
    return jax.random.uniform(call.key(), shape, dtype, call.attribute("low", 0.0), call.attribute("high", 1.0))


@operator("Bernoulli", 15, 22)
def bernoulli(call: Call) -> Value:
    x = call.input(0)
    number = call.attributes.get("dtype")
    dtype = x.dtype if number is None else call.dtype(number)
    return (jax.random.uniform(call.key(), x.shape, x.dtype) < x).astype(dtype)


@operator("Multinomial", 7, 22)
def multinomial(call: Call) -> Value:
    logits = call.input(0)
    count = call.attribute("sample_size", 1)
    call.check_sizes((count, *logits.shape))
    drawn = jax.random.categorical(call.key(), logits, -1, shape=(count, logits.shape[0]))
    return drawn.T.astype(call.dtype(call.attribute("dtype", TensorProto.INT32)))


@operator("Dropout", 6, 7, 10)
def dropout_by_attribute(call: Call) -> Value:
    drops = call.version < 7 and not call.attribute("is_test", 0)
    return _dropout(call, call.attribute("ratio", 0.5) if drops else 0.0)


@operator("Dropout", 12, 13, 22, static=(2,))
def dropout(call: Call) -> Value:
    trains = bool(call.number(2, 0))
    ratio: Any = call.attribute("ratio", 0.5)
    if call.has(1):
        raw = call.inputs[1]
        ratio = float(raw.reshape(-1)[0]) if isinstance(raw, np.ndarray) else call.input(1).reshape(())
    return _dropout(call, ratio if trains else 0.0)


def _dropout(call: Call, ratio: Any) -> Value:
    x = call.input(0)
    if isinstance(ratio, float) and ratio == 0:
        return [x, jnp.ones(x.shape, bool)][: len(call.node.outputs)]
    if isinstance(ratio, float) and not (math.isfinite(ratio) and 0 <= ratio < 1):
        raise call.refuse("the ratio is not in [0, 1)", given=str(ratio))
    kept = jax.random.uniform(call.key(), x.shape, x.dtype) >= ratio
    scale = jnp.asarray(1 / (1 - ratio), x.dtype)
    return [jnp.where(kept, x * scale, jnp.zeros_like(x)), kept][: len(call.node.outputs)]

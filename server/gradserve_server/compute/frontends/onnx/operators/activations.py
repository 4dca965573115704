"""Activations: functions of one tensor with a name of their own."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from gradserve_server.compute.frontends.onnx.call import Call
from gradserve_server.compute.frontends.onnx.operators.elementwise import floating
from gradserve_server.compute.frontends.onnx.table import Value, operator


@operator("Relu", 6, 13, 14, folds=True)
def relu(call: Call) -> Value:
    x = call.input(0)
    return call.xp.maximum(x, x.dtype.type(0)) if call.xp is not jnp else jax.nn.relu(x)


@operator("LeakyRelu", 6, 16)
def leaky_relu(call: Call) -> Value:
    x = floating(call)
    return jnp.where(x < 0, call.attribute("alpha", 0.01) * x, x)


@operator("PRelu", 6, 7, 9, 16)
def parametric_relu(call: Call) -> Value:
    x, slope = call.input(0), call.input(1)
    if call.version < 7 and slope.ndim == 1 and slope.size > 1:
        # One slope for each channel.
        slope = slope.reshape(-1, *(1 for _ in x.shape[2:]))
    return jnp.where(x < 0, slope * x, x)


@operator("Elu", 6, 22)
def elu(call: Call) -> Value:
    return jax.nn.elu(floating(call), call.attribute("alpha", 1.0))


@operator("Celu", 12, 28)
def celu(call: Call) -> Value:
    alpha = call.attribute("alpha", 1.0)
    return jax.nn.celu(floating(call), alpha)


@operator("Selu", 6, 22)
def selu(call: Call) -> Value:
    x = floating(call)
    alpha = call.attribute("alpha", 1.67326319217681884765625)
    gamma = call.attribute("gamma", 1.05070102214813232421875)
    return gamma * jax.nn.elu(x, alpha)


@operator("Sigmoid", 6, 13)
def sigmoid(call: Call) -> Value:
    return jax.nn.sigmoid(floating(call))


@operator("HardSigmoid", 6, 22)
def hard_sigmoid(call: Call) -> Value:
    return jnp.clip(call.attribute("alpha", 0.2) * floating(call) + call.attribute("beta", 0.5), 0, 1)


@operator("HardSwish", 14, 22)
def hard_swish(call: Call) -> Value:
    x = floating(call)
    return x * jnp.clip(x / 6 + 0.5, 0, 1)


@operator("Softplus", 1, 22)
def softplus(call: Call) -> Value:
    return jax.nn.softplus(floating(call))


@operator("Softsign", 1, 22)
def softsign(call: Call) -> Value:
    return jax.nn.soft_sign(floating(call))


@operator("ThresholdedRelu", 10, 22)
def thresholded_relu(call: Call) -> Value:
    x = floating(call)
    return jnp.where(x > call.attribute("alpha", 1.0), x, jnp.zeros_like(x))


@operator("Gelu", 20)
def gelu(call: Call) -> Value:
    return jax.nn.gelu(floating(call), approximate=call.attribute("approximate", "none") == "tanh")


@operator("Mish", 18, 22)
def mish(call: Call) -> Value:
    return jax.nn.mish(floating(call))


@operator("Swish", 24)
def swish(call: Call) -> Value:
    x = floating(call)
    return x * jax.nn.sigmoid(call.attribute("alpha", 1.0) * x)


@operator("Shrink", 9)
def shrink(call: Call) -> Value:
    x = call.input(0)
    bias, threshold = call.attribute("bias", 0.0), call.attribute("lambd", 0.5)
    if not jnp.issubdtype(x.dtype, jnp.floating):
        exact = x.astype(jnp.float32)
        return _shrink(exact, bias, threshold).astype(x.dtype)
    return _shrink(x, bias, threshold)


def _shrink(x: jax.Array, bias: float, threshold: float) -> jax.Array:
    return jnp.where(x < -threshold, x + bias, jnp.where(x > threshold, x - bias, jnp.zeros_like(x)))


@operator("Clip", 6)
def clip_by_attributes(call: Call) -> Value:
    x = floating(call)
    return _clip(x, call.attributes.get("min"), call.attributes.get("max"))


@operator("Clip", 11, 12, 13)
def clip(call: Call) -> Value:
    return _clip(call.input(0), call.optional(1), call.optional(2))


def _clip(x: jax.Array, least: Value, most: Value) -> jax.Array:
    if least is not None:
        x = jnp.maximum(x, jnp.asarray(least, x.dtype).reshape(()))
    if most is not None:
        x = jnp.minimum(x, jnp.asarray(most, x.dtype).reshape(()))
    return x

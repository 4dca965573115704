"""Losses that are operators."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from gradserve_server.compute.frontends.onnx.call import Call
from gradserve_server.compute.frontends.onnx.table import Value, operator
from gradserve_server.compute.ops.softmax import log_softmax


def _picked(call: Call, log_probabilities: jax.Array, classes: jax.Array) -> jax.Array:
    """-weight * log p of the target class, reduced; what is to be ignored has weight 0."""
    ignored_class = call.attributes.get("ignore_index")
    count = log_probabilities.shape[1]
    ignored = jnp.zeros(classes.shape, bool) if ignored_class is None else classes == ignored_class
    call.check(jnp.any(~ignored & ((classes < 0) | (classes >= count))), "a class is out of range")
    safe = jnp.clip(jnp.where(ignored, jnp.zeros_like(classes), classes), 0, count - 1)
    value = -jnp.squeeze(jnp.take_along_axis(log_probabilities, jnp.expand_dims(safe, 1), 1), 1)
    dtype = log_probabilities.dtype
    weight = call.input(2)[safe] if call.has(2) else jnp.ones(classes.shape, dtype)
    weight = jnp.where(ignored, jnp.zeros_like(weight), weight)
    value = jnp.where(ignored, jnp.zeros_like(value), value * weight)
    match call.attribute("reduction", "mean"):
        case "none":
            return value
        case "sum":
            return jnp.sum(value)
        case "mean":
            return jnp.sum(value) / jnp.sum(weight)
        case other:
            raise call.unsupported("this reduction is not known", given=str(other))


@operator("NegativeLogLikelihoodLoss", 12, 13, 22)
def negative_log_likelihood(call: Call) -> Value:
    return _picked(call, call.input(0), call.input(1))


@operator("SoftmaxCrossEntropyLoss", 12, 13)
def softmax_cross_entropy(call: Call) -> Value:
    log_probabilities = log_softmax(call.input(0), 1)
    loss = _picked(call, log_probabilities, call.input(1))
    return [loss, log_probabilities][: len(call.node.outputs)]

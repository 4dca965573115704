"""Normalization layers."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from gradserve.v1 import network_pb2
from gradserve_server.common.errors import Problem, Reason
from gradserve_server.compute.frontends.graph.call import Call, Value
from gradserve_server.compute.frontends.graph.table import operation
from gradserve_server.compute.initializers import ONES, ZEROS

_Kind = network_pb2.Normalization
_ONLY_BATCH = ("momentum", "fixed_statistics")


@operation("normalization")
def normalization(call: Call[network_pb2.Normalization]) -> Value:
    """Subtracts a mean and divides by a standard deviation, then scales and shifts each feature."""
    attributes = call.attributes
    kind = attributes.kind
    if kind == _Kind.KIND_UNSPECIFIED:
        raise Problem(Reason.MISSING_FIELD, "the kind is not set", field=f"{call.node.field}.kind")
    x = call.floating()
    if x.ndim < 1:
        raise call.refuse_input(0, "it needs at least one axis")
    epsilon = call.finite("epsilon", 1e-5)
    if epsilon < 0:
        raise call.refuse("epsilon", "it may not be negative", given=str(epsilon))
    _check_fields(call, kind)
    match kind:
        case _Kind.KIND_LAYER:
            mean = jnp.mean(x, axis=-1, keepdims=True)
            centred = x - mean
            y = centred * jax.lax.rsqrt(jnp.mean(jnp.square(centred), axis=-1, keepdims=True) + epsilon)
        case _Kind.KIND_RMS:
            y = x * jax.lax.rsqrt(jnp.mean(jnp.square(x), axis=-1, keepdims=True) + epsilon)
        case _Kind.KIND_GROUP:
            y = _by_group(call, x, epsilon)
        case _:
            y = _by_batch(call, x, epsilon)
    features = x.shape[-1]
    if not attributes.without_scale:
        y = y * jnp.broadcast_to(call.parameter("scale", (features,), ONES), y.shape)
    if not attributes.without_bias and kind != _Kind.KIND_RMS:
        y = y + jnp.broadcast_to(call.parameter("bias", (features,), ZEROS), y.shape)
    return y


def _check_fields(call: Call[network_pb2.Normalization], kind: int) -> None:
    """Refuses fields that belong to another kind."""
    attributes = call.attributes
    if attributes.groups and kind != _Kind.KIND_GROUP:
        raise call.refuse("groups", "only KIND_GROUP has groups", given=str(attributes.groups))
    if kind != _Kind.KIND_BATCH:
        for field in _ONLY_BATCH:
            if attributes.HasField(field) if field == "momentum" else getattr(attributes, field):
                raise call.refuse(field, "only KIND_BATCH has it")


def _by_group(call: Call[network_pb2.Normalization], x: jax.Array, epsilon: float) -> jax.Array:
    groups = call.positive("groups")
    channels = x.shape[-1]
    if x.ndim < 2 or channels % groups:
        raise call.refuse("groups", "groups must divide the channels", given=str(groups), expected=f"of {channels}")
    split = x.reshape(*x.shape[:-1], groups, channels // groups)
    axes = (*range(1, x.ndim - 1), x.ndim)
    centred = split - jnp.mean(split, axis=axes, keepdims=True)
    variance = jnp.mean(jnp.square(centred), axis=axes, keepdims=True)
    return (centred * jax.lax.rsqrt(variance + epsilon)).reshape(x.shape)


def _by_batch(call: Call[network_pb2.Normalization], x: jax.Array, epsilon: float) -> jax.Array:
    if x.ndim < 2:
        raise call.refuse_input(0, "it needs an axis of examples and one of channels")
    momentum = call.finite("momentum", 0.9)
    if not 0 <= momentum <= 1:
        raise call.refuse("momentum", "not a weight", given=str(momentum), expected="0 to 1")
    features = x.shape[-1]
    stored_mean = call.statistic("mean", (features,), 0.0)
    stored_variance = call.statistic("variance", (features,), 1.0)
    if not call.attributes.fixed_statistics:
        call.depends_on_mode()
    if call.training and not call.attributes.fixed_statistics:
        mean, variance = _batch_statistics(x, call.scope.context.example_weights)
        for name, old, new in (("mean", stored_mean, mean), ("variance", stored_variance, variance)):
            call.update_statistic(name, jax.lax.stop_gradient(momentum * old + (1 - momentum) * new))
    else:
        mean, variance = stored_mean, stored_variance
    scale = jax.lax.rsqrt(variance + epsilon)
    return (x - jnp.broadcast_to(mean, x.shape)) * jnp.broadcast_to(scale, x.shape)


def _batch_statistics(x: jax.Array, present: jax.Array | None) -> tuple[jax.Array, jax.Array]:
    """Mean and biased variance of each channel over all examples that count."""
    axes = tuple(range(x.ndim - 1))
    if present is None:
        mean = jnp.mean(x, axis=axes)
        return mean, jnp.mean(jnp.square(x - jnp.broadcast_to(mean, x.shape)), axis=axes)
    weights = jnp.broadcast_to(present.astype(x.dtype).reshape((-1,) + (1,) * (x.ndim - 1)), x.shape)
    count = jnp.maximum(jnp.sum(weights, axis=axes), 1)
    mean = jnp.sum(weights * x, axis=axes) / count
    return mean, jnp.sum(weights * jnp.square(x - jnp.broadcast_to(mean, x.shape)), axis=axes) / count

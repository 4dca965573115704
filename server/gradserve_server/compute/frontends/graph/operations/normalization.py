"""Normalization layers."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp

from gradserve.v1 import network_pb2
from gradserve_server.common.errors import Problem, Reason
from gradserve_server.compute.frontends.graph.call import Call, Value
from gradserve_server.compute.frontends.graph.table import operation
from gradserve_server.compute.initializers import ONES, ZEROS
from gradserve_server.compute.ops.statistics import batch_statistics, normalize
from gradserve_server.compute.precision import widened

_Kind = network_pb2.Normalization.Kind


@operation("normalization")
def normalization(call: Call[network_pb2.Normalization]) -> Value:
    """Shifts and scales x [..., features] to mean 0 and variance 1 over what its kind says; in at least 32 bits."""
    kind = call.attributes.kind
    if kind == _Kind.KIND_UNSPECIFIED:
        raise Problem(Reason.MISSING_FIELD, "the kind is not set", field=f"{call.node.field}.kind")
    _check_fields(call)
    given = call.floating()
    x = widened(given)
    least = 2 if kind in {_Kind.KIND_BATCH, _Kind.KIND_GROUP} else 1
    if x.ndim < least:
        raise call.refuse_input(0, f"it needs {least} axes or more")
    epsilon = call.finite("epsilon", 1e-5)
    if epsilon < 0:
        raise call.refuse("epsilon", "it is added to a variance", given=str(epsilon), expected="at least 0")
    if kind == _Kind.KIND_LAYER:
        y = normalize(x, (x.ndim - 1,), epsilon)
    elif kind == _Kind.KIND_RMS:
        y = x * jax.lax.rsqrt(jnp.mean(jnp.square(x), -1, keepdims=True) + epsilon)
    elif kind == _Kind.KIND_GROUP:
        y = _group(call, x, epsilon)
    else:
        y = _batch(call, x, epsilon)
    features = x.shape[-1:]
    if not call.attributes.without_scale:
        y = y * jnp.broadcast_to(call.parameter("scale", features, ONES, wide=True), y.shape)
    if kind != _Kind.KIND_RMS and not call.attributes.without_bias:
        y = y + jnp.broadcast_to(call.parameter("bias", features, ZEROS, wide=True), y.shape)
    return y.astype(given.dtype)


def _check_fields(call: Call[network_pb2.Normalization]) -> None:
    """Refuses what belongs to another kind, rather than to leave it out silently."""
    attributes = call.attributes
    for field, present, kind in (
        ("groups", attributes.groups != 0, _Kind.KIND_GROUP),
        ("momentum", attributes.HasField("momentum"), _Kind.KIND_BATCH),
        ("fixed_statistics", attributes.fixed_statistics, _Kind.KIND_BATCH),
    ):
        if present and attributes.kind != kind:
            raise call.refuse(
                field,
                "this kind of normalization has no such field",
                given=_Kind.Name(attributes.kind),
                expected=_Kind.Name(kind),
            )


def _group(call: Call[network_pb2.Normalization], x: jax.Array, epsilon: float) -> jax.Array:
    """Wu and He, "Group Normalization", 2018: mean and variance over space and the channels of one group."""
    groups = call.positive("groups")
    channels: Any = x.shape[-1]
    if isinstance(channels, int) and channels % groups:
        raise call.refuse(
            "groups",
            "the groups do not divide the channels evenly",
            given=str(groups),
            expected=f"a divisor of {channels}",
        )
    grouped = x.reshape(*x.shape[:-1], groups, channels // groups)
    axes = (*range(1, x.ndim - 1), x.ndim)
    return normalize(grouped, axes, epsilon).reshape(x.shape)


def _batch(call: Call[network_pb2.Normalization], x: jax.Array, epsilon: float) -> jax.Array:
    """Ioffe and Szegedy, "Batch Normalization", 2015, with running statistics by exponential decay."""
    momentum = call.finite("momentum", 0.9)
    if not 0 <= momentum <= 1:
        raise call.refuse("momentum", "not a weight", given=str(momentum), expected="0 to 1")
    features = x.shape[-1:]
    mean = call.statistic("mean", features, 0.0)
    variance = call.statistic("variance", features, 1.0)
    if not call.attributes.fixed_statistics:
        call.depends_on_mode()
        if call.training:
            old_mean, old_variance = mean, variance
            mean, variance = batch_statistics(x, _kept(call, x))
            for name, old, new in (("mean", old_mean, mean), ("variance", old_variance, variance)):
                call.update_statistic(name, jax.lax.stop_gradient(momentum * old + (1 - momentum) * new))
    factor = jax.lax.rsqrt(variance + epsilon)
    return (x - jnp.broadcast_to(mean, x.shape)) * jnp.broadcast_to(factor, x.shape)


def _kept(call: Call[network_pb2.Normalization], x: jax.Array) -> jax.Array | None:
    """For each example, whether it counts: those of weight 0 are padding."""
    weights = call.scope.context.example_weights
    if weights is None:
        return None
    if weights.shape != x.shape[:1]:
        raise call.refuse_input(
            0,
            "with example weights, the first axis must be that of the examples",
            expected=f"{math.prod(weights.shape)} examples",
        )
    return weights != 0

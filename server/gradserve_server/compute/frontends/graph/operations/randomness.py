"""What is random."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from gradserve.v1 import network_pb2
from gradserve_server.common.errors import Problem, Reason
from gradserve_server.compute.frontends.graph.call import Call, Value
from gradserve_server.compute.frontends.graph.table import operation

_Distribution = network_pb2.Random.Distribution
_DRAWS: dict[int, Callable[[jax.Array, tuple[Any, ...], Any], jax.Array]] = {
    _Distribution.DISTRIBUTION_NORMAL: jax.random.normal,
    _Distribution.DISTRIBUTION_UNIFORM: jax.random.uniform,
    _Distribution.DISTRIBUTION_GUMBEL: jax.random.gumbel,
}


@operation("random", inputs=(0, 1))
def random(call: Call[network_pb2.Random]) -> Value:
    """Random numbers of the input's shape, or of the one given: others for each seed, path of a node and turn."""
    draw = _DRAWS.get(call.attributes.distribution)
    if draw is None:
        raise Problem(Reason.MISSING_FIELD, "the distribution is not set", field=f"{call.node.field}.distribution")
    shape: tuple[Any, ...] = tuple(call.attributes.shape)
    if call.inputs and shape:
        raise call.refuse("shape", "it takes the shape of its input", given=str(list(shape)), expected="no shape")
    if any(size < 1 for size in shape) or len(shape) > call.scope.limits.axes:
        raise call.refuse("shape", "not a shape", given=str(list(shape)), expected="sizes of at least 1")
    return draw(call.key(), call.array().shape if call.inputs else shape, call.dtype)


@operation("dropout")
def dropout(call: Call[network_pb2.Dropout]) -> Value:
    """In training, zeroes each element with probability `rate` and scales the others by 1 / (1 - rate)."""
    rate = call.attributes.rate
    if not 0 <= rate < 1:
        raise call.refuse("rate", "not a part", given=str(rate), expected="at least 0 and less than 1")
    x = call.floating()
    call.depends_on_mode()
    if not call.training or rate == 0:
        return x
    kept = jax.random.bernoulli(call.key(), 1 - rate, x.shape)
    return jnp.where(kept, x / (1 - rate), jnp.zeros_like(x))

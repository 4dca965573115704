"""What is random."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from gradserve.v1 import network_pb2
from gradserve_server.compute.frontends.graph.call import Call, Value
from gradserve_server.compute.frontends.graph.table import operation


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

"""Tensors that a graph of the caller's own takes: what has weight 0 must not change anything."""

from __future__ import annotations

from collections.abc import Mapping

import jax
import jax.numpy as jnp

Arrays = Mapping[str, jax.Array]


def finite_where_unweighted(tensors: Arrays, weights: jax.Array) -> Arrays:
    """`tensors` with a 1 for each number that is not finite where its example, or position, has weight 0.

    A graph of the caller's own cannot be masked from within; what is finite stays, as the graph may mix positions.
    """
    result = dict(tensors)
    for name, values in tensors.items():
        if not jnp.issubdtype(values.dtype, jnp.floating):
            continue
        axes = weights.ndim
        while axes and weights.shape[:axes] != values.shape[:axes]:
            axes -= 1
        if not axes:
            continue
        absent = jnp.all((weights == 0).reshape(*weights.shape[:axes], -1), axis=-1)
        absent = absent.reshape(absent.shape + (1,) * (values.ndim - axes))
        replaced = jnp.broadcast_to(absent, values.shape) & ~jnp.isfinite(values)
        result[name] = jnp.where(replaced, jnp.ones((), values.dtype), values)
    return result

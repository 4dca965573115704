"""Norms that neither under- nor overflow."""

from __future__ import annotations

import jax
import jax.numpy as jnp


def norm(values: jax.Array) -> jax.Array:
    """Euclidean norm as a float64 scalar.

    Squares of float32 fit float64; those of float64 are kept from under- and overflow by the largest element.
    """
    if values.dtype != jnp.float64:
        return jnp.sqrt(jnp.sum(jnp.square(values.astype(jnp.float64))))
    largest = jnp.max(jnp.abs(values), initial=0.0)
    scale = jnp.where((largest > 0) & jnp.isfinite(largest), largest, 1.0)
    return scale * jnp.sqrt(jnp.sum(jnp.square(values / scale)))

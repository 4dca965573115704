"""Norms that neither under- nor overflow, and scaling to them."""

from __future__ import annotations

from collections.abc import Mapping

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


def norm_of_norms(norms: Mapping[str, jax.Array]) -> jax.Array:
    """Euclidean norm of all values together, given that of each array."""
    return norm(jnp.stack(list(norms.values()))) if norms else jnp.zeros((), jnp.float64)


def global_norm(arrays: Mapping[str, jax.Array]) -> jax.Array:
    """Euclidean norm over all arrays, as a float64 scalar."""
    return norm_of_norms({name: norm(value) for name, value in arrays.items()})


def factor_to(norms: jax.Array, most: float) -> jax.Array:
    """What scales values of this norm to at most `most`; 1 where the norm is not finite, which shows in the result."""
    factor = jnp.where(norms > most, most / norms, 1.0)
    return jnp.where(jnp.isfinite(norms), factor, 1.0)

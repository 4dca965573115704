"""Means and variances that normalizations divide by."""

from __future__ import annotations

import jax
import jax.numpy as jnp


def normalize(x: jax.Array, axes: tuple[int, ...], epsilon: float) -> jax.Array:
    """(x - mean) / sqrt(variance + epsilon), both taken over `axes`; the variance is the biased one."""
    centred = x - jnp.mean(x, axes, keepdims=True)
    return centred * jax.lax.rsqrt(jnp.mean(jnp.square(centred), axes, keepdims=True) + epsilon)


def batch_statistics(x: jax.Array, kept: jax.Array | None) -> tuple[jax.Array, jax.Array]:
    """Mean and biased variance [features] of x [batch, ..., features] over all axes but the last.

    Args:
        x: of floating-point type.
        kept: booleans [batch], False for examples to leave out; None for none. With nothing left, both are 0.
    """
    axes = tuple(range(x.ndim - 1))
    if kept is None:
        mean = jnp.mean(x, axes)
        return mean, jnp.mean(jnp.square(x - jnp.broadcast_to(mean, x.shape)), axes)
    mask = jnp.broadcast_to(jnp.expand_dims(kept, tuple(range(1, x.ndim))), x.shape)
    count = jnp.maximum(jnp.sum(mask, axes, dtype=x.dtype), 1)
    mean = jnp.sum(jnp.where(mask, x, jnp.zeros_like(x)), axes) / count
    centred = jnp.where(mask, x - jnp.broadcast_to(mean, x.shape), jnp.zeros_like(x))
    return mean, jnp.sum(jnp.square(centred), axes) / count

"""Softmax and its logarithm, of logits of any size."""

from __future__ import annotations

import jax
import jax.numpy as jnp


def rounded(x: jax.Array) -> jax.Array:
    """`x`, of which the largest element is subtracted: rounded before that, as that element was.

    Else a product that gives `x` is fused with the subtraction and not rounded in between: where logits are so large
    that a rounding is a hundred, their differences overflow. XLA sees through barriers and casts, not through this.
    """
    return jnp.where(jnp.isnan(x), x + x, x)


def softmax(x: jax.Array, axis: int = -1) -> jax.Array:
    """exp(x) / sum(exp(x)), the sum along `axis`; of the shape and the floating-point type of `x`."""
    return jax.nn.softmax(rounded(x), axis)


def log_softmax(x: jax.Array, axis: int = -1) -> jax.Array:
    """X - log(sum(exp(x))), the sum along `axis`; of the shape and the floating-point type of `x`."""
    return jax.nn.log_softmax(rounded(x), axis)

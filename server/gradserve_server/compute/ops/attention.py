"""Scaled dot-product attention, and rotary position embeddings.

`jax.nn.dot_product_attention` takes its softmax in float32 whatever the type of its inputs, too coarse for networks in
float64, and spreads a query that sees no key evenly over all of them. Hence these few lines.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np

from gradserve_server.compute.ops.softmax import softmax
from gradserve_server.compute.precision import widened


def attend(query: jax.Array, key: jax.Array, value: jax.Array, seen: jax.Array | None) -> jax.Array:
    """softmax(query key^T / sqrt(size)) value, for each head: [batch, queries, heads, size].

    Vaswani et al., "Attention is all you need", 2017; fewer heads of keys than of queries as in Ainslie et al.,
    "GQA", 2023: neighbouring heads of queries share one.

    Args:
        query: [batch, queries, heads, size], of floating-point type.
        key: [batch, keys, key heads, size]; the heads are a multiple of the key heads.
        value: [batch, keys, key heads, size].
        seen: booleans [batch, heads, queries, keys], where each axis may be 1; None where all is seen. A query that
            sees no key gives 0.
    """
    heads, key_heads = query.shape[2], key.shape[2]
    groups = (key_heads, heads // key_heads)
    grouped = query.reshape(*query.shape[:2], *groups, query.shape[3])
    scores = jnp.einsum("bqhgd,bkhd->bhgqk", grouped, key) / math.sqrt(query.shape[3])
    if seen is not None:
        shared = (1, 1) if seen.shape[1] == 1 else groups
        seen = seen.reshape(seen.shape[0], *shared, *seen.shape[2:])
        lowest = jnp.finfo(scores.dtype).min  # type: ignore[no-untyped-call]
        scores = jnp.where(seen, scores, jnp.asarray(lowest, scores.dtype))
    shares = softmax(widened(scores), -1).astype(scores.dtype)
    if seen is not None:
        # Where no key is seen, all scores are equal; what is hidden gets exactly 0 then too.
        shares = jnp.where(seen, shares, jnp.zeros_like(shares))
    return jnp.einsum("bhgqk,bkhd->bqhgd", shares, value).reshape(query.shape)


def rotate(x: jax.Array, base: float) -> jax.Array:
    """Turns each pair of features by an angle that grows with the position.

    Su et al., "RoFormer", 2021: feature i and feature i + size / 2 of position p by p base^(-2 i / size).

    Args:
        x: [batch, length, heads, size], of an even size.
        base: of the geometric series of wavelengths.
    """
    half = x.shape[3] // 2
    # In 16 bits, far positions would be one.
    precise = x.dtype if x.dtype.itemsize > 4 else jnp.float32
    speeds = jnp.asarray(float(base) ** (-np.arange(half) / half), precise)
    angles = jnp.arange(x.shape[1], dtype=precise)[:, None] * speeds[None]
    cosine, sine = (jnp.expand_dims(turn(angles), (0, 2)).astype(x.dtype) for turn in (jnp.cos, jnp.sin))
    first, second = x[..., :half], x[..., half:]
    return jnp.concatenate([first * cosine - second * sine, second * cosine + first * sine], -1)

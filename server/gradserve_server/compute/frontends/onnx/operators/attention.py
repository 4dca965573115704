"""Attention and what goes with it."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradserve_server.compute.frontends.onnx.call import Call
from gradserve_server.compute.frontends.onnx.operators.indexing import wrapped
from gradserve_server.compute.frontends.onnx.table import Value, operator
from gradserve_server.compute.ops.softmax import softmax
from gradserve_server.compute.precision import wide, widened


def _heads(call: Call, x: jax.Array, attribute: str) -> jax.Array:
    """X [batch, length, heads * size] as [batch, heads, length, size]; what has four axes is that already."""
    if x.ndim == 4:
        return x
    count = call.attribute(attribute)
    if x.ndim != 3 or count < 1 or x.shape[2] % count:
        raise call.refuse("the last axis does not split into heads", given=str(x.shape), expected=f"{count} heads")
    return x.reshape(*x.shape[:2], count, x.shape[2] // count).transpose(0, 2, 1, 3)


@operator("Attention", 23, 24, 25)
def attention(call: Call) -> Value:
    query = _heads(call, call.input(0), "q_num_heads")
    key = _heads(call, call.input(1), "kv_num_heads")
    value = _heads(call, call.input(2), "kv_num_heads")
    if call.has(4) != call.has(5):
        raise call.refuse("past key and past value go together")
    past = 0
    if call.has(4):
        past = call.input(4).shape[2]
        key = jnp.concatenate([call.input(4), key], 2)
        value = jnp.concatenate([call.input(5), value], 2)
    present = [key, value]
    groups = query.shape[1] // key.shape[1]
    if groups * key.shape[1] != query.shape[1]:
        raise call.refuse("the heads of the query are no multiple of those of the key")
    key, value = (jnp.repeat(one, groups, 1) if groups > 1 else one for one in (key, value))
    scale = call.attribute("scale", 1 / math.sqrt(query.shape[-1]))
    # What lies between inputs and outputs of 16 bits stays in 32: each rounding would move the last digit.
    scores = scale * jnp.einsum("bhqd,bhkd->bhqk", query, key, preferred_element_type=wide(query.dtype))
    shown = [scores]
    softcap = call.attribute("softcap", 0.0)
    if softcap > 0:
        scores = softcap * jnp.tanh(scores / softcap)
    shown.append(scores)
    allowed, bias = _mask(call, scores, past)
    scores = scores if bias is None else scores + bias
    infinite = jnp.asarray(-jnp.inf, scores.dtype)
    if allowed is not None:
        scores = jnp.where(allowed, scores, infinite)
    shown.append(scores)
    weights = _softmax(call, scores)
    shown.append(weights)
    y = jnp.einsum("bhqk,bhkd->bhqd", weights, value.astype(weights.dtype)).astype(value.dtype)
    if call.input(0).ndim == 3:
        y = y.transpose(0, 2, 1, 3).reshape(y.shape[0], y.shape[2], -1)
    chosen = shown[call.attribute("qk_matmul_output_mode", 0)].astype(query.dtype)
    return [y, *present, chosen][: len(call.node.outputs)]


def _softmax(call: Call, scores: jax.Array) -> jax.Array:
    """Softmax over keys, zero for a query that may see none."""
    number = call.attributes.get("softmax_precision")
    precise = widened(scores if number is None else scores.astype(call.dtype(number)))
    blind = jnp.all(precise == -jnp.inf, -1, keepdims=True)
    weights = softmax(jnp.where(blind, jnp.zeros_like(precise), precise), -1)
    return jnp.where(blind, jnp.zeros_like(weights), weights)


def _mask(call: Call, scores: jax.Array, past: int) -> tuple[jax.Array | None, jax.Array | None]:
    """Which keys each query may see, and what is added to its scores."""
    queries, keys = scores.shape[2:]
    allowed: jax.Array | None = None
    bias: jax.Array | None = None

    def only(condition: jax.Array) -> None:
        nonlocal allowed
        allowed = condition if allowed is None else allowed & condition

    key = jnp.arange(keys)
    place: Any = jnp.arange(queries)[:, None] + past
    if call.has(6):
        valid = call.input(6).reshape(-1, 1, 1, 1)
        only(key < valid)
        place = jnp.arange(queries)[:, None] + valid - queries
    if call.attribute("is_causal", 0):
        only(key <= place)
    left, right = call.attribute("left_window_size", -1), call.attribute("right_window_size", -1)
    if left >= 0:
        only(place - key <= left)
    if right >= 0:
        only(key - place <= right)
    if call.has(3):
        mask = call.input(3)
        missing = keys - mask.shape[-1]
        filler = False if mask.dtype == bool else -jnp.inf
        if missing:
            mask = jnp.pad(mask, [*((0, 0) for _ in mask.shape[1:]), (0, missing)], constant_values=filler)
        if mask.dtype == bool:
            only(mask)
        else:
            bias = mask.astype(scores.dtype)
    return allowed, bias


@operator("RotaryEmbedding", 23)
def rotary_embedding(call: Call) -> Value:
    x, cosine, sine = call.input(0), call.input(1), call.input(2)
    heads = _heads(call, x, "num_heads")
    if call.has(3):
        positions = wrapped(call, call.input(3), cosine.shape[0])
        cosine, sine = cosine[positions], sine[positions]
    cosine, sine = cosine[:, None], sine[:, None]
    size = call.attribute("rotary_embedding_dim", 0) or heads.shape[-1]
    turning, rest = heads[..., :size], heads[..., size:]
    if call.attribute("interleaved", 0):
        a, b = turning[..., 0::2], turning[..., 1::2]
        turned = jnp.stack([cosine * a - sine * b, sine * a + cosine * b], -1).reshape(turning.shape)
    else:
        a, b = jnp.split(turning, 2, -1)
        turned = jnp.concatenate([cosine * a - sine * b, sine * a + cosine * b], -1)
    y = jnp.concatenate([turned, rest], -1)
    return y if x.ndim == 4 else y.transpose(0, 2, 1, 3).reshape(x.shape)


@operator("LinearAttention", 27)
def linear_attention(call: Call) -> Value:
    rule = call.attribute("update_rule", "gated_delta")
    if rule not in ("linear", "gated", "delta", "gated_delta"):
        raise call.unsupported("this update rule is not known", given=rule)
    query_heads, heads = call.attribute("q_num_heads"), call.attribute("kv_num_heads")
    query = _heads(call, call.input(0), "q_num_heads")
    key, value = (_heads(call, call.input(index), "kv_num_heads") for index in (1, 2))
    batch, _, length, size = key.shape
    scale = call.attribute("scale", 0.0) or 1 / math.sqrt(size)
    dtype = np.promote_types(query.dtype, jnp.float32)
    given = call.input(3) if call.has(3) else jnp.zeros((batch, heads, size, value.shape[-1]), query.dtype)
    decay = beta = jnp.zeros((batch, heads, length, 1), dtype)
    if "gated" in rule:
        decay = call.input(4).astype(dtype).reshape(batch, length, heads, -1).transpose(0, 2, 1, 3)
    if "delta" in rule:
        beta = call.input(5).astype(dtype).reshape(batch, length, -1, 1).transpose(0, 2, 1, 3)

    def turn(before: jax.Array, now: Any) -> tuple[jax.Array, jax.Array]:
        q, k, v, g, b = now
        kept = before * jnp.exp(g)[..., None] if "gated" in rule else before
        if "delta" in rule:
            v = b * (v - jnp.einsum("bhkv,bhk->bhv", kept, k))
        after = kept + k[..., None] * v[..., None, :]
        grouped = q.reshape(batch, heads, query_heads // heads, size)
        return after, scale * jnp.einsum("bhgk,bhkv->bhgv", grouped, after)

    steps = [jnp.moveaxis(one.astype(dtype), 2, 0) for one in (query, key, value, decay, beta)]
    last, outputs = jax.lax.scan(turn, given.astype(dtype), steps)
    y = jnp.moveaxis(outputs, 0, 1).reshape(batch, length, -1)
    return [y.astype(query.dtype), last.astype(given.dtype)][: len(call.node.outputs)]


@operator("SwiGLU", 28)
def gated_swish(call: Call) -> Value:
    gate, x = call.input(0), call.input(1)
    if gate.shape != x.shape:
        raise call.refuse("gate and input have different shapes")
    return gate * jax.nn.sigmoid(call.attribute("alpha", 1.0) * gate) * x

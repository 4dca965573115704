"""Functions of a batch, and whether they mix its examples."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

BATCH, LENGTH, FEATURES = 4, 3, 6
_draw = np.random.default_rng(0)
TABLE = _draw.normal(size=(5, FEATURES))
KERNEL = _draw.normal(size=(FEATURES, FEATURES))
FILTER = _draw.normal(size=(2, FEATURES, FEATURES))
POSITIONS = _draw.normal(size=(LENGTH, FEATURES))
EACH = _draw.normal(size=(BATCH, 1, 1))
PICKED = _draw.integers(0, FEATURES, size=(BATCH, LENGTH, 1))

# Of an array [batch, length, features].
Function = Callable[[jax.Array], jax.Array]


def attention(x: jax.Array) -> jax.Array:
    return jax.nn.dot_product_attention(x[:, :, None], x[:, :, None], x[:, :, None], is_causal=True)


def layer_normalization(x: jax.Array) -> jax.Array:
    centred = x - x.mean(-1, keepdims=True)
    return centred / jnp.sqrt(jnp.square(centred).mean(-1, keepdims=True) + 1e-5)


def batch_normalization(x: jax.Array) -> jax.Array:
    centred = x - x.mean((0, 1), keepdims=True)
    return centred / jnp.sqrt(jnp.square(centred).mean((0, 1), keepdims=True) + 1e-5)


def recurrent(x: jax.Array) -> jax.Array:
    def turn(carry: tuple[jax.Array, int], token: jax.Array) -> tuple[tuple[jax.Array, int], jax.Array]:
        state, count = carry
        state = jnp.tanh(token @ KERNEL + state * count)
        return (state, count + 1), state

    # The state starts as what no example is part of, and becomes what all are.
    _, states = lax.scan(turn, (jnp.zeros((x.shape[0], x.shape[2]), x.dtype), 0), x.swapaxes(0, 1))
    return states


def while_loop(x: jax.Array) -> jax.Array:
    return lax.while_loop(lambda c: c[0] < 3, lambda c: (c[0] + 1, jnp.sin(c[1])), (0, x))[1]


def top_choice(x: jax.Array) -> jax.Array:
    values, indices = lax.top_k(x, 2)
    return values * jnp.take_along_axis(x, indices, axis=-1)


def two_views(x: jax.Array) -> jax.Array:
    both = jnp.concatenate([x, x * 2]) @ KERNEL
    first, second = both[: x.shape[0]], jnp.split(both, 2)[1]
    return first - second


def folded(x: jax.Array) -> jax.Array:
    flat = x.reshape(-1, x.shape[-1]) @ KERNEL
    return jax.nn.softmax(flat.reshape(x.shape), axis=1)


def folded_the_other_way(x: jax.Array) -> jax.Array:
    return jnp.tanh(x.swapaxes(0, 1).reshape(-1, x.shape[-1]) @ KERNEL)


@jax.custom_vjp
def straight_through(x: jax.Array) -> jax.Array:
    return jnp.round(x)


straight_through.defvjp(lambda x: (jnp.round(x), None), lambda _, g: (g,))

APART: dict[str, Function] = {
    "sum_of_itself": lambda x: x + x * 2.0 - jnp.abs(x),
    "relu": jax.nn.relu,
    "gelu": jax.nn.gelu,
    "logsumexp": lambda x: jax.nn.logsumexp(x, axis=-1),
    "dense": lambda x: jnp.tanh(x @ KERNEL + KERNEL[0]),
    "einsum": lambda x: jnp.einsum("blf,blg->bfg", x, x),
    "einsum_with_weights_first": lambda x: jnp.einsum("gf,blf->gbl", KERNEL, x),
    "convolution": lambda x: lax.conv_general_dilated(x, FILTER, (1,), "SAME", dimension_numbers=("NWC", "WIO", "NWC")),
    "max_pooling": lambda x: lax.reduce_window(x, -jnp.inf, lax.max, (1, 2, 1), (1, 1, 1), "SAME"),
    "mean_over_length": lambda x: x.mean(1),
    "softmax_over_features": lambda x: jax.nn.softmax(x, axis=-1),
    "layer_normalization": layer_normalization,
    "attention": attention,
    "recurrent": recurrent,
    "while_loop": while_loop,
    "cond": lambda x: lax.cond(KERNEL[0, 0] > 0, lambda y: y * 2, lambda y: y + 1, x),
    "transposed": lambda x: x.transpose(2, 0, 1),
    "reversed_in_length": lambda x: jnp.flip(x, 1),
    "rolled_in_length": lambda x: jnp.roll(x, 1, axis=1),
    "sorted_features": lambda x: jnp.sort(x, axis=-1),
    "argmax": lambda x: jnp.argmax(x, axis=-1).astype(x.dtype),
    "cumulative": lambda x: jnp.cumsum(x, axis=1) + lax.cummax(x, axis=2),
    "top_choice": top_choice,
    "padded": lambda x: jnp.pad(x, ((0, 0), (1, 2), (0, 0))),
    "sliced": lambda x: x[:, 1:, ::2],
    "dynamically_sliced": lambda x: lax.dynamic_slice_in_dim(x, 1, 2, axis=1),
    "dynamically_updated": lambda x: lax.dynamic_update_slice_in_dim(x, x[:, :1], 2, axis=1),
    "written_to": lambda x: x.at[:, 1].add(x[:, 0]).at[:, :, 2].set(0.0),
    "written_into_zeros": lambda x: jnp.zeros_like(x).at[:, 1:].set(x[:, 1:]),
    "picked_by_data": lambda x: jnp.take_along_axis(x, PICKED, axis=-1),
    "looked_up": lambda x: jnp.take(TABLE, jnp.clip(x.astype(jnp.int32) + 2, 0, 4), axis=0),
    "some_features": lambda x: jnp.take(x, jnp.array([2, 0]), axis=-1),
    "repeated": lambda x: jnp.tile(jnp.repeat(x, 2, axis=1), (1, 1, 2)),
    "token_before": lambda x: jnp.concatenate([jnp.zeros((x.shape[0], 1, x.shape[2]), x.dtype), x], 1) + 1,
    "stacked": lambda x: jnp.stack([x, x + 1], axis=0).mean(0),
    "two_views": two_views,
    "folded": folded,
    "folded_the_other_way": folded_the_other_way,
    "positions": lambda x: x + POSITIONS,
    "row_of_its_own": lambda x: x * EACH + jnp.arange(x.shape[0])[:, None, None],
    "dropout": lambda x: jnp.where(jax.random.bernoulli(jax.random.key(0), 0.5, x.shape), x, 0.0),
    "checkpointed": jax.checkpoint(lambda y: jnp.sin(y @ KERNEL)),
    "straight_through": lambda x: straight_through(x) * x,
    "derivative": lambda x: jax.jvp(jnp.tanh, (x,), (jnp.ones_like(x),))[1],
    "mapped": jax.vmap(lambda one: one @ one.T),
    "fourier": lambda x: jnp.abs(jnp.fft.rfft(x, axis=-1)),
    "pairs_within": lambda x: x[:, :, None] - x[:, None],
}

MIXED: dict[str, Function] = {
    "batch_normalization": batch_normalization,
    "softmax_over_the_batch": lambda x: jax.nn.softmax(x, axis=0),
    "mean_over_the_batch": lambda x: x - x.mean(0, keepdims=True),
    "total": lambda x: x.sum(),
    "products_of_examples": lambda x: x[:, 0] @ x[:, 0].T,
    "two_towers": lambda x: jax.nn.log_softmax(x[:, 0] @ jnp.tanh(x[:, 1]).T),
    "attention_across_the_batch": lambda x: attention(x.swapaxes(0, 1)).swapaxes(0, 1),
    "reversed": lambda x: x + x[::-1],
    "rolled": lambda x: jnp.roll(x, 1, axis=0),
    "sorted": lambda x: jnp.sort(x, axis=0),
    "cumulative": lambda x: jnp.cumsum(x, axis=0),
    "largest": lambda x: x / jnp.max(jnp.abs(x)),
    "first_example": lambda x: x - x[:1],
    "picked_examples": lambda x: x[jnp.array([1, 0, 3, 2])],
    "padded": lambda x: jnp.pad(x, ((1, 0), (0, 0), (0, 0)))[:-1],
    "folded_wrongly": lambda x: x.reshape(x.shape[1], x.shape[0], -1).sum(1),
    "folded_and_normalized": lambda x: jax.nn.softmax(x.reshape(-1, x.shape[-1]), axis=0),
    "scanned_over_examples": lambda x: lax.scan(lambda c, one: (c + one, c), jnp.zeros(x.shape[1:], x.dtype), x)[1],
    "carried_across": lambda x: lax.fori_loop(0, 2, lambda _, c: jnp.tanh(c - c.mean(0, keepdims=True)), x),
    "as_long_as_data_say": lambda x: lax.while_loop(lambda c: jnp.sum(c) < 20, lambda c: c + 0.01, x),
    "chosen_by_data": lambda x: lax.cond(jnp.sum(x) > 0, jnp.sin, jnp.cos, x),
    "convolution_across": lambda x: lax.conv_general_dilated(
        x[None, :, :, 0], FILTER[:, :LENGTH], (1,), "SAME", dimension_numbers=("NWC", "WIO", "NWC")
    )[0],
    "pooled_across": lambda x: lax.reduce_window(x, -jnp.inf, lax.max, (2, 1, 1), (1, 1, 1), "SAME"),
    "gradient_of_a_total": jax.grad(lambda y: jnp.square(y.sum())),
}

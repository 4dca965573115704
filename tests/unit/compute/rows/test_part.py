"""Part of a batch computed alone: the same values and the same gradients as in the whole."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gradserve_server.compute.rows import InseparableError, Rows, find_rows, part_of, take
from tests.unit.compute.rows.functions import APART, BATCH, FEATURES, LENGTH, MIXED

X = np.random.default_rng(1).normal(size=(BATCH, LENGTH, FEATURES))
# What no rule can divide is refused, though its examples are apart.
WITH_OWN_BACKWARD_PASS = {"straight_through"}


@pytest.mark.parametrize("name", sorted(APART.keys() - WITH_OWN_BACKWARD_PASS))
def test_part_of_a_batch_is_what_it_was_in_the_whole(name: str) -> None:
    function = APART[name]
    program = jax.make_jaxpr(function)(X)
    (rows,) = find_rows(program, [Rows(0)], BATCH)
    assert isinstance(rows, Rows)
    part = part_of(program, [Rows(0)], BATCH, 1)
    cotangent = np.random.default_rng(2).normal(size=program.out_avals[0].shape)
    reversible = name != "while_loop"

    def parts(x: jax.Array) -> tuple[jax.Array, jax.Array]:
        def one(start: jax.Array) -> tuple[jax.Array, jax.Array]:
            own = take(x, Rows(0), BATCH, start, 1)
            upstream = take(jnp.asarray(cotangent), rows, BATCH, start, 1)
            if not reversible:
                return part(start, [own])[0], own
            value, backward = jax.vjp(lambda own: part(start, [own])[0], own)
            return value, backward(upstream.astype(value.dtype))[0]

        return jax.vmap(one)(jnp.arange(BATCH))

    def whole(x: jax.Array) -> tuple[jax.Array, jax.Array]:
        if not reversible:
            return function(x), x
        value, backward = jax.vjp(function, x)
        return value, backward(jnp.asarray(cotangent, value.dtype))[0]

    (values, gradients), (value, gradient) = jax.jit(lambda x: (parts(x), whole(x)))(X)
    for start in range(BATCH):
        np.testing.assert_allclose(
            values[start], take(value, rows, BATCH, jnp.asarray(start), 1), rtol=1e-12, atol=1e-14
        )
    np.testing.assert_allclose(np.concatenate(gradients), gradient, rtol=1e-10, atol=1e-12)


def test_a_part_may_hold_several_examples() -> None:
    program = jax.make_jaxpr(APART["folded_the_other_way"])(X)
    (rows,) = find_rows(program, [Rows(0)], BATCH)
    assert rows == Rows(0, outer=LENGTH)
    part = jax.jit(part_of(program, [Rows(0)], BATCH, 2))
    whole = APART["folded_the_other_way"](jnp.asarray(X)).reshape(LENGTH, BATCH, FEATURES)
    np.testing.assert_allclose(part(jnp.asarray(1), [X[1:3]])[0].reshape(LENGTH, 2, FEATURES), whole[:, 1:3])


def test_gradients_of_what_is_shared_add_up() -> None:
    weights = np.random.default_rng(3).normal(size=(FEATURES, FEATURES))

    def loss(x: jax.Array, weights: jax.Array) -> jax.Array:
        def turn(state: jax.Array, token: jax.Array) -> tuple[jax.Array, None]:
            mask = jax.random.bernoulli(jax.random.key(0), 0.5, state.shape)
            return jax.nn.relu(state @ weights + jnp.where(mask, token, 0.0)), None

        state, _ = jax.lax.scan(turn, jnp.ones((BATCH, FEATURES)), x.swapaxes(0, 1))
        return (state * weights[0]).sum(-1)

    part = part_of(jax.make_jaxpr(loss)(X, weights), [Rows(0), None], BATCH, 1)

    def each(start: jax.Array, weights: jax.Array) -> jax.Array:
        return jax.grad(
            lambda weights: part(start, [take(jnp.asarray(X), Rows(0), BATCH, start, 1), weights])[0].sum()
        )(weights)

    found = jax.jit(jax.vmap(each, (0, None)))(jnp.arange(BATCH), weights)
    expected = jax.jit(jax.grad(lambda weights: loss(jnp.asarray(X), weights).sum()))(jnp.asarray(weights))
    np.testing.assert_allclose(found.sum(0), expected, rtol=1e-12)
    assert np.abs(found[0] - found[1]).max() > 0.1


def test_a_bias_is_not_copied_for_the_whole_batch() -> None:
    """What every example uses alike is never made as large as the batch."""
    program = jax.make_jaxpr(lambda x, bias: x + jnp.broadcast_to(jnp.exp(bias), x.shape))(X, X[0, 0])
    part = part_of(program, [Rows(0), None], BATCH, 1)
    jaxpr = jax.make_jaxpr(part)(jnp.asarray(0), [X[:1], X[0, 0]])
    assert "dynamic_slice" not in str(jaxpr)
    assert f"{BATCH},{LENGTH},{FEATURES}" not in str(jaxpr)


@pytest.mark.parametrize("name", ["batch_normalization", "two_towers", "chosen_by_data", "as_long_as_data_say"])
def test_what_is_mixed_has_no_parts(name: str) -> None:
    with pytest.raises(InseparableError):
        part_of(jax.make_jaxpr(MIXED[name])(X), [Rows(0)], BATCH, 1)


def test_a_backward_pass_of_its_own_is_not_divided() -> None:
    with pytest.raises(InseparableError) as caught:
        part_of(jax.make_jaxpr(APART["straight_through"])(X), [Rows(0)], BATCH, 1)
    assert caught.value.mixing.operation == "custom_vjp_call"

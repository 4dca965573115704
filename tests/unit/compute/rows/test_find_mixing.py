"""Which functions mix the examples of a batch, held against what changes when one example does."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gradserve_server.compute.rows import Mixing, Rows, find_mixing, find_rows
from tests.unit.compute.rows.functions import APART, BATCH, FEATURES, LENGTH, MIXED, Function

X = np.random.default_rng(1).normal(size=(BATCH, LENGTH, FEATURES))


def changes(function: Function) -> list[np.ndarray]:
    """For each example, where the result differs when it is another one."""
    compiled = jax.jit(function)
    found = []
    for example in range(BATCH):
        other = X.copy()
        other[example] *= -1.7
        found.append(np.asarray(compiled(X)) != np.asarray(compiled(other)))
    return found


@pytest.mark.parametrize("name", APART)
def test_each_example_has_a_part_of_its_own(name: str) -> None:
    function = APART[name]
    (rows,) = find_rows(jax.make_jaxpr(function)(X), [Rows(0)], BATCH)
    assert isinstance(rows, Rows)
    for example, changed in enumerate(changes(function)):
        assert changed.shape[rows.axis] == rows.size(BATCH)
        divided = np.moveaxis(changed, rows.axis, 0).reshape(rows.outer, BATCH, rows.inner, -1)
        assert divided[:, example].any()
        divided[:, example] = False
        assert not divided.any()


@pytest.mark.parametrize("name", MIXED)
def test_what_mixes_examples_is_found(name: str) -> None:
    function = MIXED[name]
    assert isinstance(find_mixing(jax.make_jaxpr(function)(X), [Rows(0)], BATCH), Mixing)
    # It does: some element is changed by two of them, or each by another than its own.
    found = changes(function)
    times = sum(changed.astype(int) for changed in found)
    others = times.shape[:1] == (BATCH,) and any(np.delete(one, at, axis=0).any() for at, one in enumerate(found))
    assert (times > 1).any() or others


def test_what_depends_on_no_example_is_told_apart() -> None:
    program = jax.make_jaxpr(lambda x, w: (x * 2, w * 2, x.mean(0) * w))(X, jnp.ones((LENGTH, FEATURES)))
    apart, shared, mixed = find_rows(program, [Rows(0), None], BATCH)
    assert apart == Rows(0)
    assert shared is None
    assert mixed == Mixing("", "reduce_sum")


def test_only_outputs_are_judged() -> None:
    def function(x: jax.Array) -> jax.Array:
        assert x.mean(0).shape
        return x * 2

    assert find_mixing(jax.make_jaxpr(function)(X), [Rows(0)], BATCH) is None


def test_the_node_is_named_wherever_it_is() -> None:
    def turn(x: jax.Array, _: None) -> tuple[jax.Array, None]:
        with jax.named_scope("layers/first"):
            x = jax.nn.relu(x)
        with jax.named_scope("layers/norm"):
            return jnp.where(x > 0, x - x.mean(0, keepdims=True), 0.0), None

    program = jax.make_jaxpr(lambda x: jax.lax.scan(turn, x, None, length=2)[0])(X)
    found = find_mixing(program, [Rows(0)], BATCH)
    assert found is not None
    assert found.node == "layers/norm"


def test_examples_may_lie_along_any_axis() -> None:
    program = jax.make_jaxpr(lambda x: x.mean(0))(X)
    assert find_rows(program, [Rows(1)], LENGTH) == [Rows(0)]
    assert find_rows(program, [Rows(2)], FEATURES) == [Rows(1)]


def test_an_operation_that_is_not_known_mixes() -> None:
    program = jax.make_jaxpr(lambda x: jnp.linalg.cholesky(x @ x.swapaxes(1, 2)))(X)
    assert find_mixing(program, [Rows(0)], BATCH) == Mixing("", "cholesky")


def test_one_example_is_mixed_with_none() -> None:
    program = jax.make_jaxpr(MIXED["batch_normalization"])(X[:1])
    assert find_mixing(program, [Rows(0)], 1) is None

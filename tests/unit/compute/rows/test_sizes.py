"""Which functions depend on how many examples there are, found on their traces at two sizes."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gradserve_server.compute.rows import Mixing, Rows, find_size_dependence
from tests.unit.compute.rows.functions import APART, FEATURES, LENGTH, Function

SIZES = (6, 7)
X = np.random.default_rng(1).normal(size=(max(SIZES), LENGTH, FEATURES))

DEPEND: dict[str, Function] = {
    "divided_by_the_number": lambda x: x / x.shape[0],
    "ones_counted": lambda x: x * jnp.ones(x.shape[0]).sum(),
    "power": lambda x: x ** x.shape[0],
    "places_from_the_end": lambda x: x + jnp.arange(x.shape[0] * LENGTH).reshape(-1, LENGTH, 1)[::-1],
    "a_table": lambda x: x + np.arange(x.shape[0], dtype=float)[::-1, None, None],
    "another_branch": lambda x: jnp.sin(x) if x.shape[0] > SIZES[0] else jnp.cos(x),
    "another_operand": lambda x: [jnp.sin(x), jnp.cos(x)][x.shape[0] > SIZES[0]] * 2,
    "drawn_features_first": lambda x: x + jax.random.normal(jax.random.key(0), x.shape[::-1]).T,
}
INDEPENDENT: dict[str, Function] = {
    "own_number": lambda x: x + jnp.arange(x.shape[0])[:, None, None],
    "zeros": lambda x: x + jnp.zeros_like(x),
    "drawn_for_all": lambda x: x + jax.random.normal(jax.random.key(0), x.shape[1:]),
    "drawn_by_example": lambda x: x + jax.random.normal(jax.random.key(0), x.shape),
    "dropped": lambda x: jnp.where(jax.random.bernoulli(jax.random.key(0), 0.5, x.shape), x, 0),
}


def found(function: Function) -> Mixing | None:
    one, other = (jax.make_jaxpr(function)(X[:size]) for size in SIZES)
    return find_size_dependence((one, other), SIZES, [Rows(0)])


@pytest.mark.parametrize("name", DEPEND)
def test_what_depends_on_the_number_of_examples_is_found(name: str) -> None:
    assert isinstance(found(DEPEND[name]), Mixing)
    one, other = (np.asarray(DEPEND[name](X[:size])) for size in SIZES)
    assert not np.array_equal(one, other[: SIZES[0]])


@pytest.mark.parametrize("name", INDEPENDENT)
def test_what_does_not_is_left_alone(name: str) -> None:
    assert found(INDEPENDENT[name]) is None
    one, other = (np.asarray(INDEPENDENT[name](X[:size])) for size in SIZES)
    np.testing.assert_array_equal(one, other[: SIZES[0]])


@pytest.mark.parametrize(
    "name", sorted({"dense", "softmax_over_features", "attention", "recurrent", "while_loop", "cond"})
)
def test_layers_of_networks_are_independent(name: str) -> None:
    assert found(APART[name]) is None

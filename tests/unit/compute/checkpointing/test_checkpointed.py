"""Functions under each choice: equal in every kind of derivative, and smaller where that is what was asked for."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gradserve_server.common.specs import Checkpointing
from gradserve_server.compute.checkpointing import RECOMPUTED_LATE, checkpointed
from gradserve_server.compute.rewriting import rewritten

LEAN = (Checkpointing.PRODUCTS, Checkpointing.BLOCKS, Checkpointing.SQRT)
WIDTH, TURNS = 3, 4

Tree = Any


def deep(parameters: Tree, x: jax.Array) -> jax.Array:
    """Unrolled layers, a loop run backwards, a loop in a loop."""
    layers, stacked = parameters

    def turn(h: jax.Array, layer: Tree) -> tuple[jax.Array, jax.Array]:
        return jnp.tanh(h @ layer["w"] + layer["b"][None]) + h, jnp.sum(h, axis=1)

    def group(h: jax.Array, layers: Tree) -> tuple[jax.Array, jax.Array]:
        h, sums = jax.lax.scan(turn, h, layers)
        return h, sums[0]

    h = x
    for layer in layers:
        h = jnp.tanh(h @ layer["w"])
    h, second = jax.lax.scan(turn, h, stacked, reverse=True)
    h, third = jax.lax.scan(group, h, jax.tree.map(lambda a: a.reshape(2, -1, *a.shape[1:]), stacked))
    weighted = jnp.sum(second * jnp.arange(TURNS, dtype=x.dtype)[:, None])
    return jnp.mean(jnp.square(h)) + weighted + jnp.sum(third)


def drawn() -> tuple[Tree, np.ndarray, Tree]:
    generator = np.random.default_rng(0)
    layers = [{"w": generator.normal(size=(WIDTH, WIDTH)) / 2, "b": generator.normal(size=WIDTH)} for _ in range(TURNS)]
    parameters = (layers, jax.tree.map(lambda *one: np.stack(one), *layers))
    directions = jax.tree.map(lambda one: generator.normal(size=one.shape), parameters)
    return parameters, generator.normal(size=(4, WIDTH)), directions


def derivatives(function: Callable[..., Any], parameters: Tree, x: jax.Array, directions: Tree) -> Tree:
    """All that is computed of a loss: by the ways that programs go."""
    gradient = jax.grad(function)
    return {
        "gradient": jax.grad(function, argnums=(0, 1))(parameters, x),
        "per example": jax.vmap(gradient, (None, 0))(parameters, x[:, None]),
        "forward mode": jax.jvp(lambda p: function(p, x), (parameters,), (directions,)),
        "forward over reverse": jax.jvp(lambda p: gradient(p, x), (parameters,), (directions,)),
    }


@functools.cache
def computed(choice: Checkpointing) -> Tree:
    parameters, x, directions = drawn()
    function = functools.partial(derivatives, checkpointed(deep, choice))
    quick = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
    return jax.jit(rewritten(function, [RECOMPUTED_LATE]), compiler_options=quick)(parameters, x, directions)


@pytest.mark.long
@pytest.mark.parametrize("choice", LEAN)
def test_every_kind_of_derivative_is_that_without_checkpointing(choice: Checkpointing) -> None:
    expected, found = computed(Checkpointing.OFF), computed(choice)
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12), found, expected)


def temporaries(function: Callable[..., Any], *arguments: Tree) -> int:
    compiled = jax.jit(function).lower(*arguments).compile()
    return int(compiled.memory_analysis().temp_size_in_bytes)


def test_it_is_the_late_calls_that_save_memory_in_unrolled_graphs() -> None:
    weights = [np.zeros((32, 32), np.float32) for _ in range(30)]
    x = np.zeros((512, 32), np.float32)

    def loss(weights: list[jax.Array], x: jax.Array) -> jax.Array:
        for weight in weights:
            x = jnp.tanh(x @ weight)
        return jnp.mean(x)

    gradient = jax.grad(checkpointed(loss, Checkpointing.SQRT))
    without, late = temporaries(gradient, weights, x), temporaries(rewritten(gradient, [RECOMPUTED_LATE]), weights, x)
    assert late < without / 2
    # Parts of a batch are added up in a loop: the segments lie inside.
    parts = np.zeros((2, 512, 32), np.float32)

    def accumulated(weights: list[jax.Array], parts: jax.Array) -> Any:
        return jax.lax.map(lambda part: gradient(weights, part)[0], parts)

    assert (
        temporaries(rewritten(accumulated, [RECOMPUTED_LATE]), weights, parts)
        < temporaries(accumulated, weights, parts) / 2
    )


def test_a_network_inside_a_call_is_cut_as_well() -> None:
    weights = [np.zeros((32, 32), np.float32) for _ in range(30)]
    x = np.zeros((512, 32), np.float32)

    @jax.jit
    def network(weights: list[jax.Array], x: jax.Array) -> jax.Array:
        for weight in weights:
            x = jnp.tanh(x @ weight)
        return x

    def loss(weights: list[jax.Array], x: jax.Array) -> jax.Array:
        return jnp.mean(network(weights, x))

    lean = jax.grad(checkpointed(loss, Checkpointing.SQRT))
    assert temporaries(rewritten(lean, [RECOMPUTED_LATE]), weights, x) < temporaries(jax.grad(loss), weights, x) / 2

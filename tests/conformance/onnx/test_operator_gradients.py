"""Gradients of every differentiable operator in the table, in float64, against central differences."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gradserve_server.common.specs import Limits
from gradserve_server.compute.frontends.onnx import load_network
from gradserve_server.compute.frontends.onnx.types import FLOATING
from gradserve_server.compute.network import Context
from tests.conformance.onnx.upstream import NOT_PASSED, single_cases

# Of central differences.
STEP = 1e-6
# Operators that are defined from a round number on upwards.
UPWARDS = frozenset({"Acosh"})


def is_floating(array: Any) -> bool:
    return np.asarray(array).dtype in FLOATING


def differentiable() -> Iterator[Any]:
    """For each operator one case that takes and gives floating-point numbers."""
    seen = set()
    for operator, model, inputs, outputs, name in single_cases():
        known = operator in seen or name in NOT_PASSED
        if known or not any(map(is_floating, inputs)) or not any(map(is_floating, outputs)):
            continue
        if not all(np.isfinite(array.astype(np.float64)).all() for array in (*inputs, *outputs) if is_floating(array)):
            continue
        seen.add(operator)
        yield pytest.param(operator, model, inputs, id=operator)


def moved(array: np.ndarray, generator: np.random.Generator, *, upwards: bool) -> np.ndarray:
    """In double, a little nearer to zero (or farther) and off round numbers, where many operators have a kink."""
    wide = array.astype(np.float64)
    return wide * (
        1 + (0.02 if upwards else -0.02) * generator.uniform(0.2, 1, wide.shape)
    ) + 0.003 * generator.uniform(0.2, 1, wide.shape)


# Each third one often, all of them in the long tests.
CASES = [
    pytest.param(*case.values, id=case.id, marks=() if index % 3 == 0 else pytest.mark.long)
    for index, case in enumerate(differentiable())
]


@pytest.mark.parametrize(("operator", "model", "inputs"), CASES)
def test_gradient_is_that_of_central_differences(operator: str, model: Any, inputs: list[np.ndarray]) -> None:
    generator = np.random.default_rng(1)
    network = load_network(model.SerializeToString(), Limits())
    names = [spec.name for spec in network.inputs]
    static = set(network.static_inputs)
    batch = dict(zip(names, map(np.asarray, inputs), strict=True))
    network = network.specialized({name: batch[name] for name in static})
    point = {
        name: moved(array, generator, upwards=operator in UPWARDS)
        for name, array in batch.items()
        if is_floating(array) and name not in static
    }
    if not point:
        pytest.skip("its only floating-point inputs decide what is computed")
    rest = {name: array for name, array in batch.items() if name not in point}

    def total(point: dict[str, jax.Array]) -> jax.Array:
        outputs = network.apply({}, {}, {**rest, **point}, Context(dtype=jnp.float64, key=jax.random.key(0)))
        floating = [value for value in outputs.values() if jnp.issubdtype(value.dtype, jnp.floating)]
        return sum(
            (
                jnp.sum(
                    jnp.sin(jnp.arange(1.0, one.size + 1, dtype=jnp.float64)).reshape(one.shape)
                    * one.astype(jnp.float64)
                )
                for one in floating
            ),
            start=jnp.zeros(()),
        )

    derive = jax.jit(jax.value_and_grad(total))
    direction = {name: generator.normal(size=array.shape) for name, array in point.items()}
    after, before = (
        derive({name: array + sign * STEP * direction[name] for name, array in point.items()})[0] for sign in (1, -1)
    )
    value, gradient = derive(point)
    expected = (after - before) / (2 * STEP)
    found = sum(np.vdot(gradient[name], direction[name]) for name in point)
    assert np.isfinite(value)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7 * max(1.0, abs(float(value))))


def test_most_of_the_table_is_differentiated() -> None:
    assert len(list(differentiable())) >= 130

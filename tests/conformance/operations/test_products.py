"""Each operation's derivatives forward, back and of second order against each other, in float64."""

from __future__ import annotations

import zlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gradserve_server.compute.network import Context
from tests.conformance.operations.graphs import QUICK, draw, graph, load, signature, spec
from tests.conformance.operations.rows import ROWS, Row
from tests.conformance.operations.test_operations import nodes

STEP = 1e-5
# One row of each operation in every run; their other attributes where there is time.
FIRST = {row.operation: name for name, row in reversed(ROWS.items())}
CASES = [
    pytest.param(row, id=name, marks=() if FIRST[row.operation] == name else pytest.mark.long)
    for name, row in ROWS.items()
]


def arrays_of(row: Row, generator: np.random.Generator) -> dict[str, np.ndarray]:
    """Inputs x0, x1 and so on, each letter of their shapes the smallest size."""
    inputs = {}
    for index, shape in enumerate(row.shapes):
        form = tuple(row.least if isinstance(size, str) else size for size in shape)
        kind = row.kind(index)
        if kind == "real":
            value = generator.normal(0.0, 1.0, form)
        elif kind == "positive":
            value = generator.uniform(0.5, 2.0, form)
        elif kind == "boolean":
            value = generator.random(form) < 0.5
        else:
            value = generator.integers(0, int(kind.partition(":")[2]), form, dtype=np.int32)
        inputs[f"x{index}"] = np.asarray(value)
    return inputs


def inner(one: Any, other: Any) -> jax.Array:
    leaves = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return sum((jnp.sum(a * b) for a, b in leaves), jnp.zeros(()))


@pytest.mark.parametrize("row", CASES)
def test_products_are_adjoint_symmetric_and_slopes(row: Row) -> None:
    generator = np.random.default_rng(zlib.crc32(row.name.encode()))
    inputs = arrays_of(row, generator)
    network = load(graph([spec(name, one.shape, one.dtype) for name, one in inputs.items()], *nodes(row, inputs)))
    found = signature(network, inputs)
    parameters, statistics = draw(found, generator)
    form = found.outputs["node"]
    moving = {name: one for name, one in inputs.items() if one.dtype == np.float64}
    if form.dtype != np.float64 or not (parameters or moving):
        pytest.skip("nothing to differentiate")
    others = {name: one for name, one in inputs.items() if name not in moving}
    point = (parameters, moving)
    v, u = (jax.tree.map(lambda one: generator.normal(size=one.shape), point) for _ in range(2))
    cotangent = generator.normal(size=form.shape)

    def value(at: Any) -> jax.Array:
        context = Context(jnp.float64, row.training, jax.random.key(0))
        return network.apply(at[0], dict(statistics), {**at[1], **others}, context)["node"]

    def loss(at: Any) -> jax.Array:
        return jnp.sum(jnp.sin(value(at)) * cotangent)

    def products(at: Any, v: Any, u: Any) -> dict[str, Any]:
        _, forward = jax.jvp(value, (at,), (v,))
        _, pull = jax.vjp(value, at)
        gradient = jax.grad(loss)
        along = [jax.jvp(gradient, (at,), (way,))[1] for way in (v, u)]
        return {
            "forward": jnp.sum(forward * cotangent),
            "back": inner(pull(jnp.asarray(cotangent))[0], v),
            "one": inner(along[0], u),
            "other": inner(along[1], v),
            "product": along[0],
        }

    result = jax.jit(products, compiler_options=QUICK)(point, v, u)
    np.testing.assert_allclose(result["forward"], result["back"], rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(result["one"], result["other"], rtol=1e-8, atol=1e-10)
    gradient = jax.jit(jax.grad(loss), compiler_options=QUICK)
    sides = [gradient(jax.tree.map(lambda a, b, s=sign: a + s * STEP * b, point, v)) for sign in (1, -1)]
    slopes = jax.tree.map(lambda a, b: (a - b) / (2 * STEP), *sides)
    scale = max([float(np.abs(one).max(initial=0)) for one in jax.tree.leaves(slopes)])
    for got, expected in zip(jax.tree.leaves(result["product"]), jax.tree.leaves(slopes), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5 * max(scale, 1e-3))

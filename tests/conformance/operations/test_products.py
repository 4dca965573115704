"""Each operation's derivatives forward, back and of second order against each other, in float64.

Through the server's programs: Jacobian products are adjoint to gradients, Hessian products symmetric and the slopes of
gradients; once and in a block that repeats.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pytest

import gradserve as gs
from gradserve.v1 import network_pb2
from gradserve_server.common.specs import Mode, Options
from tests.conformance.operations.graphs import Arrays, draw, graph, load, node, signature
from tests.conformance.operations.parts import Part, chunks, part, specs
from tests.conformance.operations.rows import Row
from tests.conformance.programs import jax_as_on_the_server
from tests.unit.compute.programs import compute

TURNS = 2
STEP = 1e-5
SINE = network_pb2.Elementwise(function=network_pb2.Elementwise.FUNCTION_SIN)


@pytest.fixture(scope="module", autouse=True)
def server_s_jax() -> Iterator[None]:
    with jax_as_on_the_server():
        yield


def holding(parts: Sequence[Part]) -> network_pb2.Graph:
    """Rows side by side, each bent once more. Real inputs are parameters, of which there are second derivatives."""
    nodes, inputs = [], {}
    for one in parts:
        for name, value in one.inputs.items():
            if value.dtype == np.float64:
                nodes.append(node(name, parameter=network_pb2.Parameter(shape=value.shape)))
            else:
                inputs[name] = value
        nodes += [one.block, node(f"{one.name}_bent", one.name, elementwise=SINE)]
    return graph(specs(inputs), *nodes, outputs=[f"{one.name}_bent" for one in parts])


def belongs(name: str, part: Part) -> bool:
    """Whether a parameter is that of a row."""
    return name.startswith((f"{part.name}/", f"{part.name}_"))


def dot(one: Arrays, other: Arrays, part: Part) -> float:
    return float(sum(np.sum(value * other[name]) for name, value in one.items() if belongs(name, part)))


@pytest.mark.parametrize(
    ("rows", "turns"),
    [
        pytest.param(
            rows,
            turns,
            marks=() if index == 0 and turns == TURNS else pytest.mark.long,
            id=f"{rows[0].name} to {rows[-1].name}, {turns} turns",
        )
        for index, rows in enumerate(chunks())
        for turns in (1, TURNS)
    ],
)
def test_products_are_adjoint_symmetric_and_slopes(rows: list[Row], turns: int) -> None:
    parts = [part(row, f"row{index}", turns) for index, row in enumerate(rows)]
    message = holding(parts)
    batch = {name: value for one in parts for name, value in one.inputs.items() if value.dtype != np.float64}
    found = signature(load(message), batch)
    generator = np.random.default_rng(len(rows))
    parameters, statistics = draw(found, generator)
    parameters |= {name: value for one in parts for name, value in one.inputs.items() if value.dtype == np.float64}
    v, u = ({name: generator.normal(size=value.shape) for name, value in parameters.items()} for _ in range(2))
    cotangents = {name: generator.normal(size=form.shape) for name, form in found.outputs.items()}
    loss = gs.cotangents(cotangents)

    def answer(kind: str, at: Arrays = parameters, loss: gs.Loss | None = loss, **fields: Any) -> Mapping[str, Any]:
        options = Options(mode=Mode.TRAINING if rows[0].training else Mode.INFERENCE)
        return compute(kind, gs.Network(message), {**at, **statistics}, batch, loss, options=options, **fields)

    def moved(step: float) -> dict[str, np.ndarray]:
        return {name: value + step * v[name] for name, value in parameters.items()}

    def along(field: str, way: Arrays) -> dict[str, np.ndarray]:
        return {f"{field}.{name}": value for name, value in way.items()}

    gradient = answer("gradients")["gradient"]
    forward = answer("jacobian_product", loss=None, outputs=tuple(cotangents), vectors=along("weight_tangents", v))
    of_v, of_u = (answer("hessian_product", vectors=along("vector", way))["product"] for way in (v, u))
    ahead, behind = (answer("gradients", moved(sign * STEP))["gradient"] for sign in (1, -1))
    for one in parts:
        if not any(belongs(name, one) for name in parameters):
            # Nothing of it can be differentiated.
            assert all(value.dtype != np.float64 for value in one.inputs.values())
            continue
        name = f"{one.name}_bent"
        pushed = float(np.sum(forward["output_tangent"][name] * cotangents[name]))
        np.testing.assert_allclose(pushed, dot(gradient, v, one), rtol=1e-8, atol=1e-10, err_msg=one.row.name)
        np.testing.assert_allclose(dot(of_v, u, one), dot(of_u, v, one), rtol=1e-8, atol=1e-10, err_msg=one.row.name)
        slopes = {name: (ahead[name] - behind[name]) / (2 * STEP) for name in gradient if belongs(name, one)}
        scale = max(1e-3, *(np.abs(value).max(initial=0.0) for value in slopes.values()))
        for name, slope in slopes.items():
            np.testing.assert_allclose(
                of_v[name], slope, rtol=1e-5, atol=1e-5 * scale, err_msg=f"{one.row.name}: {name}"
            )

"""Gradients of each example's own loss, of each operation: those of the batch with that example's cotangents alone.

Through the server's programs, once and in a block that repeats. Where examples depend on each other there are none.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

import gradserve as gs
from gradserve_server.common.errors import Problem, Reason
from gradserve_server.common.specs import Mode, Options, Selection
from tests.conformance.operations.graphs import draw, graph, load, signature
from tests.conformance.operations.parts import part_of_examples, specs
from tests.conformance.operations.rows import ROWS, Row
from tests.conformance.programs import jax_as_on_the_server
from tests.unit.compute.programs import compute

TURNS = 2
# Operations whose examples are taken apart in different ways; the rest of the table is for `make test-long`.
OFTEN = {"dense keeps the shape", "normalization batch training"}


@pytest.fixture(scope="module", autouse=True)
def server_s_jax() -> Iterator[None]:
    with jax_as_on_the_server():
        yield


@pytest.mark.parametrize(
    ("row", "turns"),
    [
        pytest.param(
            row,
            turns,
            marks=() if name in OFTEN and turns == TURNS else pytest.mark.long,
            id=f"{name}, {turns} turns",
        )
        for name, row in ROWS.items()
        for turns in (1, TURNS)
    ],
)
def test_gradients_of_examples_are_those_of_their_cotangents_alone(row: Row, turns: int) -> None:
    part = part_of_examples(row, "row", turns)
    message = graph(specs(part.inputs), part.block)
    found = signature(load(message), part.inputs)
    generator = np.random.default_rng(turns)
    parameters, statistics = draw(found, generator)
    weights = parameters | statistics
    form = found.outputs["row"]
    own = [name for name in part.inputs if name not in part.shared]
    moving = tuple(name for name, value in part.inputs.items() if value.dtype == np.float64)
    fields = {"shared": part.shared, "options": Options(mode=Mode.TRAINING if row.training else Mode.INFERENCE)}

    def gradients(cotangent: np.ndarray, *, per_example: bool) -> dict[str, np.ndarray]:
        selection = Selection(
            inputs=moving, without_parameters=not parameters, per_example=per_example, example_summary=per_example
        )
        loss = gs.cotangents({"row": cotangent})
        answer = compute("gradients", gs.Network(message), weights, part.inputs, loss, selection=selection, **fields)
        return answer.get("gradient", {}) | answer.get("input_gradient", {})

    cotangent = generator.normal(size=form.shape)
    if isinstance(row.examples, str):
        with pytest.raises(Problem) as caught:
            gradients(cotangent, per_example=True)
        assert caught.value.reason is Reason.DEPENDENT_EXAMPLES
        assert caught.value.metadata["node"].rpartition("/")[2] == "node", caught.value.metadata
        return
    examples = gradients(cotangent, per_example=True)
    count = part.inputs[own[0]].shape[0]
    whole = gradients(cotangent, per_example=False)
    assert set(examples) == set(whole) == {*parameters, *moving}
    for index in range(count):
        # Examples that are the inner part of an axis come again and again.
        mask = np.resize(np.arange(count) == index, form.shape[part.axis])
        mask = np.expand_dims(mask, [place for place in range(len(form.shape)) if place != part.axis])
        alone = gradients(cotangent * mask, per_example=False)
        for name, gradient in alone.items():
            if name in own:
                assert not np.delete(gradient, index, 0).any()
            value = gradient[index] if name in own else gradient
            scale = np.abs(value).max(initial=1e-3)
            np.testing.assert_allclose(examples[name][index], value, rtol=1e-9, atol=1e-12 * scale, err_msg=name)
    for name, value in whole.items():
        total = examples[name] if name in own else examples[name].sum(0)
        scale = np.abs(value).max(initial=1e-3)
        np.testing.assert_allclose(total, value, rtol=1e-9, atol=1e-12 * scale, err_msg=name)

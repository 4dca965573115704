"""Derivatives of each loss beyond its gradient, in float64: by example, and of second order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pytest

import gradserve as gs
from gradserve.v1 import network_pb2
from gradserve_server.common.specs import Matrix, Selection
from tests.conformance.losses.oracles import ROWS, Row
from tests.conformance.losses.test_losses import REDUCTIONS, WEIGHTS, Case, message_of
from tests.conformance.operations.graphs import Arrays, graph, node, spec
from tests.conformance.programs import jax_as_on_the_server
from tests.unit.compute.programs import compute

STEP = 1e-5
ADD, MULTIPLY = network_pb2.Arithmetic.FUNCTION_ADD, network_pb2.Arithmetic.FUNCTION_MULTIPLY
# Losses whose values are of an element, of a vector, and of a position that another one predicts.
OFTEN = {("huber", "mean", "batch"), ("next_token", "sum", "length"), ("kullback_leibler", "sum_then_mean", "none")}

every_loss = pytest.mark.parametrize(
    ("row", "reduction", "weighting"),
    [
        pytest.param(
            row,
            reduction,
            weighting,
            marks=() if (name, reduction, weighting) in OFTEN else pytest.mark.long,
            id=f"{name}, {reduction}, weights {weighting}",
        )
        for name, row in ROWS.items()
        for reduction in REDUCTIONS
        for weighting in WEIGHTS
    ],
)


@pytest.fixture(scope="module", autouse=True)
def server_s_jax() -> Iterator[None]:
    with jax_as_on_the_server():
        yield


class Task:
    """prediction = x * scale + shift, as one network with the loss; at the case's prediction but for a little."""

    def __init__(self, row: Row, reduction: str, weighting: str) -> None:
        case = Case.make(row, weighting)
        shape = case.prediction.shape
        message = graph(
            [spec("x", ("batch", *shape[1:]))],
            *(node(name, parameter=network_pb2.Parameter(shape=shape[1:])) for name in ("scale", "shift")),
            node("scaled", "x scale", arithmetic=network_pb2.Arithmetic(function=MULTIPLY)),
            node("prediction", "scaled shift", arithmetic=network_pb2.Arithmetic(function=ADD)),
        )
        self.generator = np.random.default_rng(0)
        self.network = gs.Network(message)
        self.loss = gs.Loss(message_of(row, reduction, weighting).SerializeToString())
        self.batch = {"x": case.prediction}
        if "target" in str(self.loss.message):
            self.batch["target"] = case.target
        if case.weights is not None:
            self.batch["weights"] = case.weights
        self.examples = shape[0]
        self.weights = {
            "scale": 1 + self.generator.uniform(-0.01, 0.01, shape[1:]),
            "shift": self.generator.uniform(-0.01, 0.01, shape[1:]),
        }

    def __call__(self, kind: str, batch: Arrays | None = None, at: Arrays | None = None, **fields: Any) -> Any:
        return compute(kind, self.network, at or self.weights, batch or self.batch, self.loss, **fields)


@every_loss
def test_losses_and_gradients_of_examples_are_those_of_each_alone_and_add_up(
    row: Row, reduction: str, weighting: str
) -> None:
    task = Task(row, reduction, weighting)
    own = task("gradients", selection=Selection(inputs=("x",), per_example=True, example_summary=True))
    whole = task("gradients", selection=Selection(inputs=("x",)))
    shares = np.zeros(task.examples)
    for index in range(task.examples):
        batch = {name: value[index : index + 1] for name, value in task.batch.items()}
        alone = task("gradients", batch, selection=Selection(inputs=("x",)))
        shares[index] = alone["numbers"]["weight_sum"] if reduction != "sum" else 1
        assert own["example"]["losses"][index] == pytest.approx(alone["numbers"]["loss"], rel=1e-12)
        assert own["example"]["norms"][index] == pytest.approx(alone["numbers"]["global_norm"], rel=1e-12)
        for name, value in alone["gradient"].items():
            np.testing.assert_allclose(own["gradient"][name][index], value, rtol=1e-10, atol=1e-13)
        np.testing.assert_allclose(own["input_gradient"]["x"][index], alone["input_gradient"]["x"][0], rtol=1e-10)
    if reduction != "sum":
        shares /= shares.sum()
    assert shares @ own["example"]["losses"] == pytest.approx(whole["numbers"]["loss"], rel=1e-12)
    for name, value in whole["gradient"].items():
        np.testing.assert_allclose(np.tensordot(shares, own["gradient"][name], 1), value, rtol=1e-10, atol=1e-13)


@every_loss
def test_hessian_products_are_symmetric_and_slopes_and_those_of_gauss_newton(
    row: Row, reduction: str, weighting: str
) -> None:
    task = Task(row, reduction, weighting)
    v, u = ({name: task.generator.normal(size=one.shape) for name, one in task.weights.items()} for _ in range(2))

    def product(way: Mapping[str, np.ndarray], matrix: Matrix = Matrix.HESSIAN) -> Arrays:
        vectors = {f"vector.{name}": value for name, value in way.items()}
        found: Arrays = task("hessian_product", vectors=vectors, matrix=matrix)["product"]
        return found

    def slope(sign: float) -> Arrays:
        at = {name: value + sign * STEP * v[name] for name, value in task.weights.items()}
        found: Arrays = task("gradients", at=at)["gradient"]
        return found

    def dot(one: Arrays, other: Arrays) -> float:
        return float(sum(np.sum(value * other[name]) for name, value in one.items()))

    of_v, of_u, ahead, behind = product(v), product(u), slope(1), slope(-1)
    assert dot(of_v, u) == pytest.approx(dot(of_u, v), rel=1e-8, abs=1e-12)
    for name, value in of_v.items():
        expected = (ahead[name] - behind[name]) / (2 * STEP)
        np.testing.assert_allclose(value, expected, rtol=1e-5, atol=1e-7)
    # The network is linear in its parameters: Gauss and Newton's matrix is the Hessian.
    for name, value in product(v, Matrix.GAUSS_NEWTON).items():
        np.testing.assert_allclose(value, of_v[name], rtol=1e-10, atol=1e-12)

"""Vector-Jacobian products against differences, one by one and stacked, from the request to the gradients."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import jax
import numpy as np
import pytest

from gradserve.tensors import to_tensor
from gradserve.v1 import gradient_service_pb2 as service
from gradserve.v1 import loss_pb2, network_pb2
from gradserve_server.common.errors import Problem, Reason
from gradserve_server.common.specs import Limits
from gradserve_server.compute import program
from gradserve_server.compute.executor import Executor
from gradserve_server.compute.losses import load_loss
from gradserve_server.front.convert import gradients_task
from tests.conformance.losses.oracles import Array, differences
from tests.conformance.operations.graphs import graph, load, node, spec

GENERATOR = np.random.default_rng(5)
POINT = {
    "x": GENERATOR.normal(size=(3, 2)),
    "hidden/kernel": GENERATOR.normal(size=(2, 4)),
    "out/kernel": GENERATOR.normal(size=(4, 2)),
}
COTANGENTS = {"out": GENERATOR.normal(size=(3, 2)), "slope": GENERATOR.normal(size=(3, 4))}
VECTORS = 5
STACKS = {name: GENERATOR.normal(size=(VECTORS, *one.shape)) for name, one in COTANGENTS.items()}
ELEMENTWISE = network_pb2.Elementwise
NETWORK = graph(
    [spec("x", ("batch", 2))],
    node("hidden", "x", dense=network_pb2.Dense(units=4, without_bias=True)),
    node("slope", "hidden", elementwise=ELEMENTWISE(function=ELEMENTWISE.FUNCTION_TANH)),
    node("out", "slope", dense=network_pb2.Dense(units=2, without_bias=True)),
    outputs=["slope", "out"],
)


def outputs(point: Mapping[str, Array]) -> dict[str, Array]:
    slope = np.tanh(point["x"] @ point["hidden/kernel"])
    return {"slope": slope, "out": slope @ point["out/kernel"]}


def product(point: Mapping[str, Array], cotangents: Mapping[str, Array]) -> float:
    values = outputs(point)
    return sum(float((values[name] * cotangent).sum()) for name, cotangent in cotangents.items())


def difference(name: str, cotangents: Mapping[str, Array]) -> Array:
    """Gradient of the product with respect to a parameter or input."""
    return differences(lambda moved: product({**POINT, name: moved}, cotangents), POINT[name], 1e-3)


def message(cotangents: Mapping[str, Array], *, stacked: bool = False) -> loss_pb2.Loss:
    tensors = {name: to_tensor(one, name) for name, one in cotangents.items()}
    return loss_pb2.Loss(cotangents=loss_pb2.Loss.Cotangents(by_output=tensors, stacked=stacked))


def total(weight: float) -> loss_pb2.Loss:
    """A weighted product and another term."""
    loss = loss_pb2.Loss()
    loss.sum.terms.add(name="product", weight=weight, loss=message(COTANGENTS))
    mean = loss_pb2.Loss(output=loss_pb2.Loss.Output(prediction="out"))
    loss.sum.terms.add(name="mean", loss=mean)
    return loss


def request_of(loss: loss_pb2.Loss) -> service.ComputeGradientsRequest:
    request = service.ComputeGradientsRequest(loss=loss)
    request.network.graph.CopyFrom(NETWORK)
    request.batch["x"].CopyFrom(to_tensor(POINT["x"], "x"))
    for name in ("hidden/kernel", "out/kernel"):
        request.weights.tensors.by_name[name].CopyFrom(to_tensor(POINT[name], name))
    request.gradients.inputs.append("x")
    return request


@dataclasses.dataclass(frozen=True)
class Answer:
    key: bytes
    loss: float
    gradients: dict[str, Array]
    norms: dict[str, float]


@pytest.fixture(scope="module")
def executor() -> Executor:
    return Executor(Limits())


def compute(executor: Executor, loss: loss_pb2.Loss) -> Answer:
    task = gradients_task(request_of(loss), 1 << 20)
    prepared = executor.prepare(task.spec)
    arrays, _ = executor.run(prepared.key, task.arrays, 0, 0)
    by_group: dict[str, dict[str, Array]] = {}
    for result, array in zip(prepared.results, arrays, strict=True):
        by_group.setdefault(result.group, {})[result.array.name] = array
    numbers = dict(zip(prepared.numbers, by_group["numbers"]["numbers"].tolist(), strict=True))
    norms = {name.removeprefix("norm:"): one for name, one in numbers.items() if name.startswith("norm:")}
    return Answer(prepared.key, numbers["loss"], by_group["gradient"] | by_group["input_gradient"], norms)


@pytest.mark.parametrize("names", [["out"], ["slope"], ["out", "slope"]])
def test_gradients_are_those_of_the_product(executor: Executor, names: list[str]) -> None:
    cotangents = {name: COTANGENTS[name] for name in names}
    answer = compute(executor, message(cotangents))
    assert answer.loss == pytest.approx(product(POINT, cotangents), rel=1e-12)
    assert answer.gradients.keys() == POINT.keys()
    for name, gradient in answer.gradients.items():
        np.testing.assert_allclose(gradient, difference(name, cotangents), rtol=1e-8, atol=1e-10)


def test_stacked_gradients_are_those_of_each_vector(executor: Executor) -> None:
    answer = compute(executor, message(STACKS, stacked=True))
    vectors = [{name: stack[index] for name, stack in STACKS.items()} for index in range(VECTORS)]
    assert answer.loss == pytest.approx(sum(product(POINT, one) for one in vectors), rel=1e-12)
    for name, gradient in answer.gradients.items():
        assert gradient.shape == (VECTORS, *POINT[name].shape)
        for one, expected in zip(gradient, vectors, strict=True):
            np.testing.assert_allclose(one, difference(name, expected), rtol=1e-8, atol=1e-10)
    for name, norm in answer.norms.items():
        assert norm == pytest.approx(np.linalg.norm(answer.gradients[name]))


def test_unit_vectors_give_the_whole_jacobian(executor: Executor) -> None:
    size = COTANGENTS["out"].size
    answer = compute(executor, message({"out": np.eye(size).reshape(size, 3, 2)}, stacked=True))
    for name, gradient in answer.gradients.items():
        for index, row in enumerate(gradient):

            def element(moved: Array, name: str = name, index: int = index) -> float:
                return float(outputs({**POINT, name: moved})["out"].flat[index])

            np.testing.assert_allclose(row, differences(element, POINT[name], 1e-3), rtol=1e-8, atol=1e-10)


def test_other_numbers_are_the_same_program(executor: Executor) -> None:
    first = compute(executor, message(COTANGENTS))
    other = compute(executor, message({name: 2 * one for name, one in COTANGENTS.items()}))
    assert first.key == other.key
    for name in POINT:
        np.testing.assert_allclose(other.gradients[name], 2 * first.gradients[name])
    assert compute(executor, message({"out": COTANGENTS["out"]})).key != first.key


def test_a_term_of_a_sum_may_be_a_product_and_its_weight_is_no_part_of_the_program(executor: Executor) -> None:
    alone = {
        "product": compute(executor, message(COTANGENTS)),
        "mean": compute(executor, loss_pb2.Loss(output=loss_pb2.Loss.Output(prediction="out"))),
    }
    answers = {weight: compute(executor, total(weight)) for weight in (0.5, -3.0, 0.0)}
    assert answers[0.5].key == answers[-3.0].key != answers[0.0].key
    for weight, answer in answers.items():
        assert answer.loss == pytest.approx(weight * alone["product"].loss + alone["mean"].loss)
        for name in POINT:
            expected = weight * alone["product"].gradients[name] + alone["mean"].gradients[name]
            np.testing.assert_allclose(answer.gradients[name], expected, rtol=1e-12, atol=1e-14)


def test_stacked_cotangents_take_one_forward_pass() -> None:
    task = gradients_task(request_of(message(STACKS, stacked=True)), 1 << 20)
    network, loss = load(NETWORK), load_loss(task.spec.loss, Limits())
    computation = program.build(task.spec, network, loss)
    weights, (x, *vectors) = task.arrays[:2], task.arrays[2:]
    arguments = computation.arguments(
        {one.name: jax.numpy.asarray(array) for one, array in zip(computation.weights, weights, strict=True)},
        {"x": jax.numpy.asarray(x)},
        {one.name: jax.numpy.asarray(array) for one, array in zip(task.spec.vectors, vectors, strict=True)},
        seed=jax.numpy.zeros((), "int64"),
    )
    jaxpr = jax.make_jaxpr(lambda: program.KINDS["gradients"](computation, arguments).groups())().jaxpr
    shapes = [equation.outvars[0].aval.shape for equation in jaxpr.eqns if equation.primitive.name == "tanh"]
    assert shapes == [(3, 4)]


def test_clipping_of_stacked_gradients_is_refused() -> None:
    request = request_of(message(STACKS, stacked=True))
    request.gradients.clip_global_norm = 1.0
    with pytest.raises(Problem) as caught:
        Executor(Limits()).prepare(gradients_task(request, 1 << 20).spec)
    assert caught.value.reason is Reason.UNSUPPORTED_OPTION
    assert caught.value.metadata["field"] == "gradients.clip_global_norm"

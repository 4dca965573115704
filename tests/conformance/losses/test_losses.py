import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradserve.v1 import loss_pb2
from gradserve_server.common.specs import Limits
from gradserve_server.compute.losses import NAMES, Tensors, load_loss
from gradserve_server.compute.network import Context
from gradserve_server.front.losses import read_loss
from tests.conformance.losses.oracles import ROWS, differences, reduced

REDUCTIONS = ("mean", "sum", "sum_then_mean")
WEIGHTS = ("none", "batch", "length")
SHAPE = (3, 2)
CLASSES = 4

rows = pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
# One each whose values are of an element, of a vector, and of a position that another one predicts.
OFTEN = {"huber", "softmax_cross_entropy of classes", "next_token"}
few_rows_often = pytest.mark.parametrize(
    "row", [pytest.param(row, id=name, marks=() if name in OFTEN else pytest.mark.long) for name, row in ROWS.items()]
)
reductions = pytest.mark.parametrize("reduction", REDUCTIONS)
weightings = pytest.mark.parametrize("weighting", WEIGHTS)


@dataclasses.dataclass
class Case:
    prediction: np.ndarray
    target: np.ndarray
    weights: np.ndarray | None

    @staticmethod
    def make(row, weighting, shape=SHAPE, classes=CLASSES, seed=0):
        generator = np.random.default_rng(seed)
        full = (*shape, classes) if row.classes else shape
        prediction, target = row.prediction(generator, full), row.target(generator, full)
        axes = {"none": None, "batch": 1, "length": 2}[weighting]
        if axes is None:
            return Case(prediction, target, None)
        weights = generator.uniform(0.5, 2.0, size=shape[:axes])
        weights.flat[generator.integers(weights.size)] = 0.0
        return Case(prediction, target, weights)

    def poisoned(self, row, value):
        """The same with numbers that nothing takes wherever the weight is 0."""
        prediction, target = self.prediction.copy(), self.target.copy()
        prediction[row.unused(self.weights, before=1)] = value
        target[row.unused(self.weights, before=0)] = row.out_of_range
        return Case(prediction, target, self.weights)


@dataclasses.dataclass
class Answer:
    loss: float
    weight_sum: float
    gradient: np.ndarray
    failed: bool


def loss_and_vectors(message):
    content, vectors = read_loss(message, 1 << 20)
    return load_loss(content, Limits()), {name: jnp.asarray(one) for name, one in vectors.items()}


def evaluate(message, case, *, compiled=False):
    loss, vectors = loss_and_vectors(message)
    batch = {"target": jnp.asarray(case.target)}
    if case.weights is not None:
        batch["weights"] = jnp.asarray(case.weights)

    def run(prediction):
        context = Context(dtype=jnp.float64)
        value = loss.evaluate(Tensors({"prediction": prediction}, batch, {}, vectors), context)
        failed = jnp.any(jnp.asarray([check.failed for check in context.checks], bool))
        return value.loss, (value.weight_sum, failed)

    function = jax.value_and_grad(run, has_aux=True)
    (value, (weight_sum, failed)), gradient = (jax.jit(function) if compiled else function)(
        jnp.asarray(case.prediction)
    )
    assert value.shape == () == weight_sum.shape
    return Answer(float(value), float(weight_sum), np.asarray(gradient), bool(failed))


def message_of(row, reduction, weighting):
    return row.message(reduction, "" if weighting == "none" else "weights")


def assert_conforms(row, reduction, case, answer):
    def oracle(prediction):
        return reduced(row.values(prediction, case.target), row.weights_of_values(case.weights), reduction)

    loss, weight_sum = oracle(case.prediction)
    gradient = differences(lambda prediction: oracle(prediction)[0], case.prediction, step=1e-3)
    assert answer.loss == pytest.approx(loss, rel=1e-12, abs=1e-14)
    assert answer.weight_sum == pytest.approx(weight_sum, rel=1e-14)
    np.testing.assert_allclose(answer.gradient, gradient, rtol=1e-5, atol=1e-5 * np.abs(gradient).max())
    assert not answer.failed


def test_each_loss_has_a_row():
    assert {row.name for row in ROWS.values()} | {"sum", "cotangents"} == NAMES


@rows
@reductions
@weightings
def test_value_and_gradient_are_those_of_the_definition(row, reduction, weighting):
    case = Case.make(row, weighting)
    assert_conforms(row, reduction, case, evaluate(message_of(row, reduction, weighting), case))


@few_rows_often
@settings(max_examples=4, derandomize=True, deadline=None, database=None)
@given(
    shape=st.lists(st.integers(1, 4), min_size=1, max_size=3).map(tuple),
    classes=st.integers(1, 4),
    reduction=st.sampled_from(REDUCTIONS),
    weighting=st.sampled_from(WEIGHTS),
    seed=st.integers(0, 100),
)
def test_any_shape_conforms(row, shape, classes, reduction, weighting, seed):
    if row.follows:
        shape = (shape[0], shape[-1] + 1)
    if weighting == "length" and len(shape) < 2:
        weighting = "batch"
    case = Case.make(row, weighting, shape, classes, seed)
    assert_conforms(row, reduction, case, evaluate(message_of(row, reduction, weighting), case, compiled=True))


@rows
@reductions
@pytest.mark.parametrize("weighting", WEIGHTS[1:])
@pytest.mark.parametrize("value", [np.nan, *(pytest.param(one, marks=pytest.mark.long) for one in (np.inf, -np.inf))])
def test_what_has_weight_0_changes_nothing(row, reduction, weighting, value):
    case = Case.make(row, weighting)
    message = message_of(row, reduction, weighting)
    clean, poisoned = evaluate(message, case), evaluate(message, case.poisoned(row, value))
    assert poisoned.loss == clean.loss
    assert poisoned.weight_sum == clean.weight_sum
    np.testing.assert_array_equal(poisoned.gradient, clean.gradient)
    np.testing.assert_array_equal(poisoned.gradient[row.unused(case.weights, before=1)], 0)
    assert not poisoned.failed


@rows
@reductions
@pytest.mark.parametrize("weighting", WEIGHTS[1:])
def test_weights_that_are_all_0_give_a_loss_and_a_gradient_of_0(row, reduction, weighting):
    case = Case.make(row, weighting)
    case = Case(case.prediction, case.target, np.zeros_like(case.weights)).poisoned(row, np.nan)
    answer = evaluate(message_of(row, reduction, weighting), case)
    assert answer.loss == 0 == answer.weight_sum
    np.testing.assert_array_equal(answer.gradient, 0)
    assert not answer.failed


@few_rows_often
@pytest.mark.parametrize("reduction", ["mean", pytest.param("sum_then_mean", marks=pytest.mark.long)])
@weightings
def test_parts_of_a_batch_combine_by_their_sums_of_weights(row, reduction, weighting):
    case = Case.make(row, weighting)
    message = message_of(row, reduction, weighting)
    parts = [
        evaluate(message, Case(*(None if one is None else one[half] for one in dataclasses.astuple(case))))
        for half in (slice(0, 1), slice(1, None))
    ]
    whole = evaluate(message, case)
    total = sum(part.weight_sum for part in parts)
    assert total == pytest.approx(whole.weight_sum)
    assert sum(part.weight_sum * part.loss for part in parts) / total == pytest.approx(whole.loss)
    gradients = np.concatenate([part.weight_sum / total * part.gradient for part in parts])
    np.testing.assert_allclose(gradients, whole.gradient, rtol=1e-12, atol=1e-14)


@weightings
def test_a_sum_is_the_weighted_sum_of_its_terms(weighting):
    terms = {
        "first": (None, ROWS["squared_error"], "mean"),
        "second": (0.25, ROWS["binary_cross_entropy of logits"], "sum"),
        "third": (-2.0, ROWS["output"], "sum_then_mean"),
    }
    case = Case.make(ROWS["binary_cross_entropy of logits"], weighting)
    message = loss_pb2.Loss()
    for name, (weight, row, reduction) in terms.items():
        message.sum.terms.add(name=name, weight=weight, loss=message_of(row, reduction, weighting))

    def oracle(prediction):
        return {
            name: reduced(row.values(prediction, case.target), case.weights, reduction)[0]
            for name, (_, row, reduction) in terms.items()
        }

    def total(prediction):
        return sum(
            (1.0 if terms[name][0] is None else terms[name][0]) * one for name, one in oracle(prediction).items()
        )

    sent = loss_pb2.Loss()
    sent.CopyFrom(message)
    answer = evaluate(sent, case)
    assert answer.loss == pytest.approx(total(case.prediction), rel=1e-12)
    np.testing.assert_allclose(answer.gradient, differences(total, case.prediction, 1e-3), rtol=1e-5, atol=1e-8)
    batch = {"target": jnp.asarray(case.target)}
    if case.weights is not None:
        batch["weights"] = jnp.asarray(case.weights)
    loss, vectors = loss_and_vectors(message)
    tensors = Tensors({"prediction": jnp.asarray(case.prediction)}, batch, {}, vectors)
    value = loss.evaluate(tensors, Context(dtype=jnp.float64))
    assert {name: float(term) for name, term in value.terms.items()} == pytest.approx(oracle(case.prediction))

"""Each loss once more: in NumPy, number by number, from the definition and without a look at the server's code."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from gradserve.v1 import loss_pb2, network_pb2

Array = np.ndarray[Any, Any]
Make = Callable[[np.random.Generator, tuple[int, ...]], Array]


@dataclasses.dataclass(frozen=True)
class Row:
    """A loss under test.

    Attributes:
        formula: field of ``Loss.formula``, and what it holds.
        classes: whether predictions have a last axis of classes, which the values have not.
        prediction: makes predictions of a shape.
        target: makes targets for predictions of a shape.
        values: values of a prediction and a target.
        out_of_range: targets that no formula takes; they stand where the weight is 0.
        follows: whether each position is predicted by the one before it, and the first not at all.
    """

    formula: dict[str, Any]
    classes: bool
    prediction: Make
    target: Make
    values: Callable[[Array, Array], Array]
    out_of_range: float = math.nan
    follows: bool = False

    @property
    def name(self) -> str:
        return next(iter(self.formula))

    def message(self, reduction: str, example_weights: str = "") -> loss_pb2.Loss:
        number = loss_pb2.Loss.Reduction.Value(f"REDUCTION_{reduction.upper()}")
        return loss_pb2.Loss(reduction=number, example_weights=example_weights, **self.formula)

    def weights_of_values(self, weights: Array | None) -> Array | None:
        """Those of the weights that a value has."""
        return weights if weights is None or weights.ndim < 2 or not self.follows else weights[:, 1:]

    def unused(self, weights: Array, *, before: int) -> Array:
        """Where no value counts, of weights [batch] or [batch, length]: in targets, or in predictions `before` them."""
        absent = weights == 0
        if not self.follows or absent.ndim < 2:
            return absent
        end = np.ones_like(absent[:, :1])
        return np.concatenate([absent[:, 1:], end] if before else [end, absent[:, 1:]], axis=1)


def reduced(values: Array, weights: Array | None, reduction: str) -> tuple[float, float]:
    """The loss and its sum of weights, by loops over examples and the values in them."""
    total = weight = 0.0
    for example in np.ndindex(values.shape[:1]):
        heaviest = 0.0
        for place in np.ndindex(values.shape[1:]):
            index = example + place
            own = 1.0 if weights is None else float(weights[index[: weights.ndim]])
            heaviest = max(heaviest, own)
            if own:
                total += own * values[index]
            if reduction != "sum_then_mean":
                weight += own
        if reduction == "sum_then_mean":
            weight += heaviest
    if reduction == "sum":
        return total, weight
    return (total / weight if weight else 0.0), weight


def differences(function: Callable[[Array], float], point: Array, step: float = 1e-5) -> Array:
    """Gradient of `function` at `point` by central differences of fourth order."""
    result = np.zeros_like(point)
    for index in np.ndindex(point.shape):
        moved = {}
        for turns in (-2, -1, 1, 2):
            at = point.copy()
            at[index] += turns * step
            moved[turns] = function(at)
        result[index] = (moved[-2] - 8 * moved[-1] + 8 * moved[1] - moved[2]) / (12 * step)
    return result


def _normal(generator: np.random.Generator, shape: tuple[int, ...]) -> Array:
    return generator.normal(size=shape)


def _unit(generator: np.random.Generator, shape: tuple[int, ...]) -> Array:
    return generator.uniform(0.1, 0.9, size=shape)


def _distribution(generator: np.random.Generator, shape: tuple[int, ...]) -> Array:
    return generator.dirichlet(np.ones(shape[-1]), size=shape[:-1])


def _log_distribution(generator: np.random.Generator, shape: tuple[int, ...]) -> Array:
    return np.log(generator.dirichlet(np.full(shape[-1], 5.0), size=shape[:-1]))


def _classes(generator: np.random.Generator, shape: tuple[int, ...]) -> Array:
    return generator.integers(0, shape[-1], size=shape[:-1]).astype(np.int32)


def _apart(generator: np.random.Generator, shape: tuple[int, ...]) -> Array:
    # Targets that no prediction of `_unit` meets, where |prediction - target| has a bend.
    return generator.uniform(1.5, 2.5, size=shape) * generator.choice([-1.0, 1.0], size=shape)


def _cross_entropy(smoothing: float) -> Callable[[Array, Array], Array]:
    def values(logits: Array, target: Array) -> Array:
        result = np.zeros(logits.shape[:-1])
        classes = logits.shape[-1]
        for index in np.ndindex(result.shape):
            exponentials = [math.exp(logit) for logit in logits[index]]
            for label, exponential in enumerate(exponentials):
                mass = float(target[index][label]) if target.ndim == logits.ndim else float(target[index] == label)
                mass = (1 - smoothing) * mass + smoothing / classes
                result[index] -= mass * math.log(exponential / sum(exponentials))
        return result

    return values


def _binary(prediction: Array, target: Array) -> Array:
    return -(target * np.log(prediction) + (1 - target) * np.log(1 - prediction))


def _chosen(prediction: Array, target: Array) -> Array:
    result = np.zeros(target.shape)
    for index in np.ndindex(target.shape):
        result[index] = prediction[index][target[index]]
    return result


def _huber(delta: float) -> Callable[[Array, Array], Array]:
    def values(prediction: Array, target: Array) -> Array:
        distance = np.abs(prediction - target)
        return np.where(distance <= delta, distance**2 / 2, delta * distance - delta**2 / 2)

    return values


def _on_both_sides(generator: np.random.Generator, shape: tuple[int, ...]) -> Array:
    # Predictions of `_unit` are nearer than 1 to the first half of them, and farther to the second.
    distance = generator.uniform(0.1, 0.4, size=shape) + generator.choice([0.0, 2.0], size=shape)
    return 0.5 + distance * generator.choice([-1.0, 1.0], size=shape)


def _divergence(log_prediction: Array, target: Array) -> Array:
    result = np.zeros(target.shape[:-1])
    for index in np.ndindex(target.shape):
        if target[index] > 0:
            result[index[:-1]] += target[index] * (math.log(target[index]) - log_prediction[index])
    return result


def _sparse_distribution(generator: np.random.Generator, shape: tuple[int, ...]) -> Array:
    weights = generator.uniform(0.1, 1, size=shape) * (generator.uniform(size=shape) < 0.7)
    weights[..., 0] = 1
    return weights / weights.sum(axis=-1, keepdims=True)


def _next(logits: Array, tokens: Array) -> Array:
    return _cross_entropy(0)(logits[:, :-1], tokens[:, 1:])


def _half_square() -> network_pb2.Graph:
    functions = network_pb2.Arithmetic
    nodes = [
        ("half", (), {"constant": {"number": 0.5}}),
        ("error", ("prediction", "target"), {"arithmetic": {"function": functions.FUNCTION_SUBTRACT}}),
        ("loss", ("half", "error", "error"), {"arithmetic": {"function": functions.FUNCTION_MULTIPLY}}),
    ]
    return network_pb2.Graph(
        inputs=[{"name": "prediction"}, {"name": "target"}],
        nodes=[{"name": name, "inputs": inputs, **operation} for name, inputs, operation in nodes],
    )


TARGET = {"prediction": "prediction", "target": "target"}

ROWS = {
    "output": Row({"output": {}}, False, _normal, _normal, lambda prediction, target: prediction),
    "output by name": Row(
        {"output": {"prediction": "prediction"}}, False, _normal, _normal, lambda prediction, target: prediction
    ),
    "softmax_cross_entropy of classes": Row(
        {"softmax_cross_entropy": TARGET}, True, _normal, _classes, _cross_entropy(0), 999
    ),
    "softmax_cross_entropy of negative classes": Row(
        {"softmax_cross_entropy": TARGET}, True, _normal, _classes, _cross_entropy(0), -1
    ),
    "softmax_cross_entropy of smoothed classes": Row(
        {"softmax_cross_entropy": {**TARGET, "label_smoothing": 0.2}}, True, _normal, _classes, _cross_entropy(0.2), 999
    ),
    "softmax_cross_entropy of probabilities": Row(
        {"softmax_cross_entropy": TARGET}, True, _normal, _distribution, _cross_entropy(0)
    ),
    "softmax_cross_entropy of smoothed probabilities": Row(
        {"softmax_cross_entropy": {**TARGET, "label_smoothing": 0.2}},
        True,
        _normal,
        _distribution,
        _cross_entropy(0.2),
    ),
    "binary_cross_entropy": Row({"binary_cross_entropy": TARGET}, False, _unit, _unit, _binary),
    "binary_cross_entropy of logits": Row(
        {"binary_cross_entropy": {**TARGET, "from_logits": True}},
        False,
        _normal,
        _unit,
        lambda logits, target: _binary(1 / (1 + np.exp(-logits)), target),
    ),
    "squared_error": Row(
        {"squared_error": TARGET}, False, _normal, _normal, lambda prediction, target: (prediction - target) ** 2
    ),
    "squared_error of the first output": Row(
        {"squared_error": {"target": "target"}},
        False,
        _normal,
        _normal,
        lambda prediction, target: (prediction - target) ** 2,
    ),
    "absolute_error": Row(
        {"absolute_error": TARGET}, False, _unit, _apart, lambda prediction, target: np.abs(prediction - target)
    ),
    "huber": Row({"huber": TARGET}, False, _unit, _on_both_sides, _huber(1)),
    "huber of another delta": Row({"huber": {**TARGET, "delta": 2.25}}, False, _unit, _on_both_sides, _huber(2.25)),
    "kullback_leibler": Row({"kullback_leibler": TARGET}, True, _log_distribution, _distribution, _divergence),
    "kullback_leibler of zeros": Row(
        {"kullback_leibler": TARGET}, True, _log_distribution, _sparse_distribution, _divergence
    ),
    "next_token": Row(
        {"next_token": {"prediction": "prediction", "tokens": "target"}},
        True,
        _normal,
        _classes,
        _next,
        999,
        follows=True,
    ),
    "negative_log_likelihood": Row(
        {"negative_log_likelihood": TARGET},
        True,
        lambda generator, shape: np.exp(_log_distribution(generator, shape)),
        _classes,
        lambda prediction, target: -np.log(_chosen(prediction, target)),
        999,
    ),
    "negative_log_likelihood from logarithms": Row(
        {"negative_log_likelihood": {**TARGET, "from_log": True}},
        True,
        _log_distribution,
        _classes,
        lambda prediction, target: -_chosen(prediction, target),
        -1,
    ),
    "custom": Row(
        {"custom": {"graph": _half_square()}},
        False,
        _normal,
        _normal,
        lambda prediction, target: 0.5 * (prediction - target) ** 2,
    ),
}

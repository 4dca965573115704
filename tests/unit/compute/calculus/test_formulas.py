"""The formulas of the chain rule, read as NumPy, against central differences of the functions themselves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from gradserve_server.common.tracing import Term
from gradserve_server.compute.calculus import arithmetic, elementwise, layers, losses
from tests.conformance.operations import oracles
from tests.formulas import Array, read

GENERATOR = np.random.default_rng(0)
X, OTHER = GENERATOR.normal(size=(2, 3, 4))
POSITIVE = np.abs(X) + 0.5
CLASSES = oracles.softmax(OTHER)
STEP = 1e-6
Given = Mapping[str, Array]


def agree(rule: Mapping[str, Term], function: Callable[[Given], Array], given: Given, *roles: str) -> None:
    """Holds the terms of `roles`, or of all that is given, against differences of `function`."""
    y = function(given)
    d = np.random.default_rng(1).normal(size=y.shape)
    for role in roles or given:
        at = given[role]
        slopes = np.zeros_like(at)
        for place in np.ndindex(at.shape):
            step = np.zeros_like(at)
            step[place] = STEP
            moved = [np.sum(d * function({**given, role: at + sign * step})) for sign in (1, -1)]
            slopes[place] = (moved[0] - moved[1]) / (2 * STEP)
        found = evaluated(rule[role], {**given, "d": d, "y": y}, at.shape)
        np.testing.assert_allclose(np.broadcast_to(found, at.shape), slopes, rtol=2e-5, atol=1e-7, err_msg=role)


def evaluated(term: Term, places: Mapping[str, Any], shape: tuple[int, ...]) -> Array:
    """A term, with the letters that `where` explains; sums give what has `shape`, or go along the last axis."""

    def add(values: Array) -> Array:
        if values.shape == X.shape == shape:
            return values.sum(-1, keepdims=True)
        values = values.sum(tuple(range(values.ndim - len(shape))))
        return values.sum(tuple(axis for axis, size in enumerate(shape) if size == 1), keepdims=True)

    places = {
        **places,
        "mean": lambda x: x.mean(-1, keepdims=True),
        "variance": lambda x: x.var(-1, keepdims=True),
    }
    letters = [part.removeprefix("with ").split(" = ") for part in term.where.partition(";")[0].split(", ")]
    # Each letter is explained by those after it.
    for name, *text in reversed(letters):
        if text and len(name) == 1:
            places[name] = read(text[0], places, add)
    found: Array = read(term.text, places, add)
    return found


@pytest.mark.parametrize("function", sorted(elementwise.DERIVATIVES))
def test_derivatives_of_functions_of_one_tensor(function: str) -> None:
    at = POSITIVE if function in {"log", "sqrt", "log1p", "log_gamma", "rsqrt"} else X
    oracle = oracles.ELEMENTWISE[function.upper()]
    agree(elementwise.elementwise(function), lambda given: oracle(given["x"]), {"x": at})


def test_derivatives_with_a_slope_or_scale() -> None:
    def leaky(given: Given) -> Array:
        return np.where(given["x"] > 0, given["x"], 0.3 * given["x"])

    def elu(given: Given) -> Array:
        return np.where(given["x"] > 0, given["x"], 0.7 * np.expm1(given["x"]))

    agree(elementwise.elementwise("leaky_relu", alpha=0.3), leaky, {"x": X})
    agree(elementwise.elementwise("elu", alpha=0.7), elu, {"x": X})


@pytest.mark.parametrize("shape", [(3, 4), (4,), (3, 1)])
@pytest.mark.parametrize(
    ("function", "numpy"),
    [
        ("add", np.add),
        ("subtract", np.subtract),
        ("multiply", np.multiply),
        ("divide", np.divide),
        ("power", np.power),
        ("maximum", np.maximum),
        ("minimum", np.minimum),
    ],
)
def test_arithmetic_with_and_without_copies(
    function: str, numpy: Callable[[Array, Array], Array], shape: tuple[int, ...]
) -> None:
    given = {"0": POSITIVE, "1": 0.5 + np.random.default_rng(2).random(shape)}
    rule = arithmetic.arithmetic(function, [POSITIVE.shape, shape], POSITIVE.shape)
    agree(rule, lambda one: numpy(one["0"], one["1"]), given)


def test_products_of_matrices() -> None:
    given = {"0": X, "1": OTHER.T}
    agree(arithmetic.arithmetic("matmul", [(3, 4), (4, 3)], (3, 3)), lambda one: one["0"] @ one["1"], given)
    many = {"0": GENERATOR.normal(size=(2, 3, 4)), "1": OTHER.T}
    agree(arithmetic.arithmetic("matmul", [(2, 3, 4), (4, 3)], (2, 3, 3)), lambda one: one["0"] @ one["1"], many)
    rule = arithmetic.einsum(["bi", "ci"], "cb")
    agree(rule, lambda one: np.einsum("bi,ci->cb", one["0"], one["1"]), {"0": X, "1": OTHER})


@pytest.mark.parametrize("function", ["sum", "mean", "max", "min", "log_sum_exp"])
def test_reductions(function: str) -> None:
    def reduced(given: Given) -> Array:
        if function == "log_sum_exp":
            return np.log(np.exp(given["x"]).sum(-1, keepdims=True))
        found: Array = getattr(np, function)(given["x"], -1, keepdims=True)
        return found

    agree(arithmetic.reduction(function, (3, 4), (3, 1)), reduced, {"x": X})


def test_a_dense_layer() -> None:
    given = {"x": X, "kernel": OTHER.T, "bias": np.ones(3)}
    agree(layers.dense(scalars=False), lambda one: one["x"] @ one["kernel"] + one["bias"], given)
    numbers = {"x": np.array(2.0), "kernel": np.array(3.0), "bias": np.array(1.0)}
    agree(layers.dense(scalars=True), lambda one: one["x"] * one["kernel"] + one["bias"], numbers)


@pytest.mark.parametrize("kind", ["layer", "rms"])
def test_normalization(kind: str) -> None:
    def normalized(given: Given) -> Array:
        x = given["x"] - (given["x"].mean(-1, keepdims=True) if kind == "layer" else 0)
        return x / np.sqrt(np.mean(x**2, -1, keepdims=True) + 1e-5) * given["scale"] + given["bias"]

    given = {"x": X, "scale": np.linspace(1, 2, 4), "bias": np.ones(4)}
    agree(layers.normalization(kind, 1e-5, scale=True), normalized, given)
    agree(
        layers.normalization(kind, 1e-5, scale=False), lambda one: normalized({**one, "scale": np.ones(4)}), given, "x"
    )


LOSSES: Mapping[str, tuple[dict[str, float], Callable[[Array, Array], Array], Array, Array]] = {
    "squared_error": ({}, lambda p, t: (p - t) ** 2, X, OTHER),
    "absolute_error": ({}, lambda p, t: np.abs(p - t), X, OTHER),
    "huber": (
        {"delta": 0.5},
        lambda p, t: np.where(np.abs(p - t) < 0.5, (p - t) ** 2 / 2, 0.5 * (np.abs(p - t) - 0.25)),
        X,
        OTHER,
    ),
    "binary_cross_entropy": ({}, lambda p, t: -t * np.log(p) - (1 - t) * np.log(1 - p), oracles.sigmoid(X), CLASSES),
    "binary_cross_entropy from logits": (
        {"from_logits": 1.0},
        lambda z, t: np.log(1 + np.exp(z)) - t * z,
        X,
        CLASSES,
    ),
    "softmax_cross_entropy": ({}, lambda z, t: -t * np.log(oracles.softmax(z)), X, CLASSES),
    "kullback_leibler": ({}, lambda z, t: t * (np.log(t) - z), X, CLASSES),
    "output": ({}, lambda p, _: p, X, OTHER),
}


@pytest.mark.parametrize("name", LOSSES)
def test_losses(name: str) -> None:
    options, values, prediction, target = LOSSES[name]
    rule = losses.formula(
        name.partition(" ")[0], options, losses.reduction("mean", values=12, examples=3, weighted=False)
    )
    places = {"prediction": prediction, "target": target, "p": target}
    roles = ("prediction", "target") if name in {"squared_error", "absolute_error", "huber"} else ("prediction",)
    for role in roles:
        slopes = np.zeros_like(prediction)
        for place in np.ndindex(prediction.shape):
            step = np.zeros_like(prediction)
            step[place] = STEP
            ends = [
                values(*(places[one] + (sign * step if one == role else 0) for one in ("prediction", "target"))).sum()
                for sign in (1, -1)
            ]
            slopes[place] = (ends[0] - ends[1]) / (2 * STEP) / 12
        found = np.broadcast_to(read(rule[role].text, places), prediction.shape)
        np.testing.assert_allclose(found, slopes, rtol=1e-5, atol=1e-8)

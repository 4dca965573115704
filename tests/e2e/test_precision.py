"""Gradients in 16 bits through the server: close to those in 32, lost and recovered, and what overflows."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import gradserve as gs
from gradserve.demo import digits, networks

NET = gs.sequential(gs.dense(8), gs.layer_normalization(), gs.tanh(), gs.dense(3), x=("batch", 8))
CLASSES = gs.softmax_cross_entropy("y")
# What numbers of 16 bits cost: a few of their last digits (2^-8, 2^-11).
CLOSE = {"bfloat16": 2e-2, "float16": 3e-3}


def batch() -> dict[str, np.ndarray[Any, Any]]:
    generator = np.random.default_rng(0)
    return {
        "x": generator.normal(size=(32, 8)).astype(np.float32),
        "y": generator.integers(0, 3, 32).astype(np.int32),
    }


@pytest.fixture(scope="module")
def weights(client_in_process: gs.Client) -> dict[str, Any]:
    return client_in_process.initialize(NET, seed=1)


def apart(found: dict[str, Any], expected: dict[str, Any]) -> float:
    """The distance of all gradients, as a part of their norm."""
    difference = sum(float(np.sum((found[name] - value) ** 2)) for name, value in expected.items())
    return float(np.sqrt(difference / sum(float(np.sum(value**2)) for value in expected.values())))


@pytest.mark.parametrize("precision", CLOSE)
def test_gradients_are_those_in_32_bits_but_for_a_few_digits(
    client_in_process: gs.Client, weights: dict[str, Any], precision: Any
) -> None:
    arguments = {"loss": CLASSES, "inputs": ["x"]}
    expected = client_in_process.gradients(NET, weights, batch(), **arguments)
    found = client_in_process.gradients(NET, weights, batch(), precision=precision, **arguments)
    assert {one.dtype for one in (*found.gradients.values(), *found.input_gradients.values())} == {np.dtype("float32")}
    assert 0 < apart(found.gradients, expected.gradients) < CLOSE[precision]
    assert 0 < apart(found.input_gradients, expected.input_gradients) < CLOSE[precision]
    assert found.loss == pytest.approx(expected.loss, rel=CLOSE[precision])
    assert found.summary.finite


def test_gradients_of_1e9_vanish_in_float16_and_come_back_with_the_loss_scaled(
    client_in_process: gs.Client, weights: dict[str, Any]
) -> None:
    loss = gs.sum_of_losses({"small": (1e-6, CLASSES)})
    expected = client_in_process.gradients(NET, weights, batch(), loss=loss)
    sizes = np.concatenate([np.abs(one).ravel() for one in expected.gradients.values()])
    assert 1e-10 < np.median(sizes) < 3e-8
    plain = client_in_process.gradients(NET, weights, batch(), loss=loss, precision="float16", loss_scale=1.0)
    assert not any(np.any(one) for one in plain.gradients.values())
    scaled = client_in_process.gradients(NET, weights, batch(), loss=loss, precision="float16")
    assert apart(scaled.gradients, expected.gradients) < 2e-2
    # The scale is data: another one is no other program.
    larger = client_in_process.gradients(NET, weights, batch(), loss=loss, precision="float16", loss_scale=2.0**20)
    assert larger.timing.compile == 0
    assert apart(larger.gradients, expected.gradients) < 1e-2


def test_an_overflow_shows_and_leaves_the_loss_as_it_is(client_in_process: gs.Client, weights: dict[str, Any]) -> None:
    fine = client_in_process.gradients(NET, weights, batch(), loss=CLASSES, precision="float16", loss_scale=1024.0)
    over = client_in_process.gradients(NET, weights, batch(), loss=CLASSES, precision="float16", loss_scale=2.0**40)
    assert fine.summary.finite
    assert not over.summary.finite
    assert over.loss == fine.loss


def test_many_cotangents_at_once_are_scaled_too(client_in_process: gs.Client, weights: dict[str, Any]) -> None:
    stack = np.full((2, 32, 3), 1e-9, np.float32) * np.arange(1, 3, dtype=np.float32)[:, None, None]
    loss = gs.cotangents({"dense_2": stack}, stacked=True)
    x = {"x": batch()["x"]}
    expected = client_in_process.gradients(NET, weights, x, loss=loss)
    found = client_in_process.gradients(NET, weights, x, loss=loss, precision="float16")
    assert apart(found.gradients, expected.gradients) < 2e-2


def test_a_trace_shows_what_16_bits_lose(client_in_process: gs.Client) -> None:
    net = gs.sequential(gs.dense(1), x=("batch", 1))
    weights = {"dense_1/kernel": np.ones((1, 1), np.float32), "dense_1/bias": np.zeros(1, np.float32)}
    loss = gs.sum_of_losses({"small": (1e-9, gs.output_loss(reduction="sum"))})

    def norm(scale: float) -> float:
        x = {"x": np.ones((1, 1), np.float32)}
        traced = client_in_process.trace(net, weights, x, loss=loss, precision="float16", loss_scale=scale)
        gradient = traced["dense_1"].gradient
        assert gradient is not None
        return gradient.norm

    assert norm(1.0) == 0
    assert norm(2.0**15) == pytest.approx(1e-9, rel=1e-2)


def test_a_forward_pass_answers_in_32_bits(client_in_process: gs.Client, weights: dict[str, Any]) -> None:
    x = {"x": batch()["x"]}
    expected = client_in_process.forward(NET, weights, x).outputs["dense_2"]
    found = client_in_process.forward(NET, weights, x, precision="bfloat16").outputs["dense_2"]
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=5e-2 * float(np.max(np.abs(expected))))
    assert np.any(found != expected)


def test_running_statistics_move_by_less_than_16_bits_can_tell(client_in_process: gs.Client) -> None:
    net = gs.sequential(gs.batch_normalization(momentum=0.999), gs.dense(2), x=("batch", 4))
    weights = client_in_process.initialize(net)
    x = np.random.default_rng(0).normal(size=(64, 4)).astype(np.float32)
    arguments = {"loss": gs.output_loss(), "mode": "training"}
    expected = client_in_process.gradients(net, weights, {"x": x}, **arguments).updated_statistics
    found = client_in_process.gradients(net, weights, {"x": x}, precision="bfloat16", **arguments).updated_statistics
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-4, atol=1e-5, err_msg=name)


def accuracy(client: gs.Client, net: gs.Network, schedule: Any, precision: Any) -> float:
    """Part of the test digits that a network trained in this precision reads right."""
    train, test = digits.split(digits.load())
    order = np.random.default_rng(0)
    size = schedule.batch_size

    def batches() -> Iterator[dict[str, np.ndarray[Any, Any]]]:
        for _ in range(schedule.epochs):
            rows = order.permutation(len(train.labels))
            for start in range(0, len(rows) - size + 1, size):
                chosen = rows[start : start + size]
                yield {"x": train.images[chosen], "y": train.labels[chosen]}

    weights: dict[str, Any] = client.initialize(net, seed=0)
    options = {"loss": gs.softmax_cross_entropy("y"), "precision": precision, "learning_rate": schedule.learning_rate}
    steps = list(gs.train_locally(client, net, weights, batches(), **options))
    assert not any(step.skipped for step in steps[20:])
    (logits,) = client.forward(net, weights, {"x": test.images}).outputs.values()
    return float(np.mean(np.argmax(logits, axis=-1) == test.labels))


@pytest.mark.parametrize(
    ("lesson", "epochs"),
    [
        pytest.param(networks.perceptron, 8, marks=pytest.mark.long),
        pytest.param(networks.perceptron, 30, marks=pytest.mark.long),
        pytest.param(networks.convolutional, 20, marks=pytest.mark.long),
    ],
)
def test_digits_are_read_as_well_in_16_bits(
    client_in_process: gs.Client, lesson: Callable[[], Any], epochs: int
) -> None:
    what = lesson()
    schedule = dataclasses.replace(what.schedule, epochs=epochs)
    expected = accuracy(client_in_process, what.network, schedule, None)
    assert expected > 0.9
    for precision in CLOSE:
        assert abs(accuracy(client_in_process, what.network, schedule, precision) - expected) <= 0.01, precision


def test_a_scale_that_is_too_large_finds_its_level(client_in_process: gs.Client, weights: dict[str, Any]) -> None:
    own = dict(weights)
    steps = list(
        gs.train_locally(
            client_in_process, NET, own, [batch()] * 40, loss=CLASSES, precision="float16", loss_scale=2.0**30
        )
    )
    assert steps[0].skipped
    assert not steps[-1].skipped
    assert steps[-1].loss < steps[0].loss

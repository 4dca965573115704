"""What differs in training: batch statistics and dropout."""

from __future__ import annotations

import numpy as np
import pytest

from gradserve.v1 import network_pb2
from tests.conformance.operations.graphs import draw, free, graph, load, node, run, signature, spec

Block, Dropout = network_pb2.Block, network_pb2.Dropout
BATCH = network_pb2.Normalization(kind=network_pb2.Normalization.KIND_BATCH, without_scale=True, without_bias=True)
X = np.random.default_rng(0).normal(2.0, 3.0, size=(6, 2))
START = {"mean": np.array([0.5, -1.0]), "variance": np.array([1.5, 0.5])}


def normalized(x: np.ndarray, kept: np.ndarray | slice = slice(None)) -> np.ndarray:
    return (x - x[kept].mean(0)) / np.sqrt(x[kept].var(0) + 1e-5)


def test_training_normalizes_by_the_batch_and_moves_the_statistics_towards_it() -> None:
    message = network_pb2.Normalization(kind=BATCH.kind, momentum=0.8)
    network = load(graph([spec("x", (6, 2))], node("bn", "x", normalization=message)))
    found = signature(network, {"x": X})
    assert {name: one.initial for name, one in found.statistics.items()} == {"bn/mean": 0.0, "bn/variance": 1.0}
    assert list(found.parameters) == ["bn/scale", "bn/bias"]
    assert found.mode_matters == "bn"
    statistics = {f"bn/{name}": value for name, value in START.items()}
    parameters = {"bn/scale": np.ones(2), "bn/bias": np.zeros(2)}
    result = run(network, parameters, statistics, {"x": X}, training=True)
    np.testing.assert_allclose(result.outputs["bn"], normalized(X))
    np.testing.assert_allclose(result.statistics["bn/mean"], 0.8 * START["mean"] + 0.2 * X.mean(0))
    np.testing.assert_allclose(result.statistics["bn/variance"], 0.8 * START["variance"] + 0.2 * X.var(0))


def test_inference_and_fixed_statistics_leave_them_as_they_are() -> None:
    statistics = {f"bn/{name}": value for name, value in START.items()}
    expected = (X - START["mean"]) / np.sqrt(START["variance"] + 1e-5)
    for fixed, training in ((False, False), (True, False), (True, True)):
        message = network_pb2.Normalization()
        message.CopyFrom(BATCH)
        message.fixed_statistics = fixed
        network = load(graph([spec("x", (6, 2))], node("bn", "x", normalization=message)))
        result = run(network, {}, statistics, {"x": X}, training=training)
        np.testing.assert_allclose(result.outputs["bn"], expected)
        assert result.statistics == {}
        assert signature(network, {"x": X}).mode_matters == ("" if fixed else "bn")


def test_examples_of_weight_zero_are_left_out_of_the_statistics() -> None:
    network = load(graph([spec("x", (6, 2))], node("bn", "x", normalization=BATCH)))
    statistics = {f"bn/{name}": value for name, value in START.items()}
    x, kept = X.copy(), np.array([True, True, False, True, False, True])
    # Padding can hold anything.
    x[~kept] = [[1e30, np.nan], [np.inf, -np.inf]]
    result = run(network, {}, statistics, {"x": x}, training=True, example_weights=kept * 0.5)
    np.testing.assert_allclose(result.outputs["bn"][kept], normalized(X, kept)[kept])
    np.testing.assert_allclose(result.statistics["bn/mean"], 0.9 * START["mean"] + 0.1 * X[kept].mean(0))
    np.testing.assert_allclose(result.statistics["bn/variance"], 0.9 * START["variance"] + 0.1 * X[kept].var(0))


def test_each_turn_of_a_repeated_block_keeps_statistics_of_its_own() -> None:
    doubled = graph(
        free("h"), node("bn", "h", normalization=BATCH),
        node("sum", "bn bn", arithmetic=network_pb2.Arithmetic(function=network_pb2.Arithmetic.FUNCTION_ADD)),
    )  # fmt: skip
    network = load(graph([spec("x", (6, 2))], node("b", "x", block=Block(body=doubled, repeat=2))))
    found = signature(network, {"x": X})
    assert {name: one.shape for name, one in found.statistics.items()} == {"b/bn/mean": (2, 2), "b/bn/variance": (2, 2)}
    _, statistics = draw(found, np.random.default_rng(1))
    result = run(network, {}, statistics, {"x": X}, training=True)
    second = 2 * normalized(X)
    np.testing.assert_allclose(result.outputs["b"], 2 * normalized(second))
    seen = np.stack([X.mean(0), second.mean(0)]), np.stack([X.var(0), second.var(0)])
    for name, batch in zip(("b/bn/mean", "b/bn/variance"), seen, strict=True):
        np.testing.assert_allclose(result.statistics[name], 0.9 * statistics[name] + 0.1 * batch, atol=1e-12)


@pytest.mark.parametrize("repeated", [True, False], ids=["shared by turns", "shared by nodes"])
def test_shared_statistics_are_updated_by_each_use_in_turn(repeated: bool) -> None:
    one = graph(free("h"), node("bn", "h", normalization=BATCH))
    if repeated:
        nodes = [node("b", "x", block=Block(body=one, repeat=2, share_parameters=True))]
    else:
        nodes = [node("b", "x", block=Block(body=one)), node("again", "b", share="b")]
    network = load(graph([spec("x", (6, 2))], *nodes))
    statistics = {f"b/bn/{name}": value for name, value in START.items()}
    result = run(network, {}, statistics, {"x": X}, training=True)
    once = normalized(X)
    for name, first, second in (("mean", X.mean(0), once.mean(0)), ("variance", X.var(0), once.var(0))):
        expected = 0.9 * (0.9 * START[name] + 0.1 * first) + 0.1 * second
        np.testing.assert_allclose(result.statistics[f"b/bn/{name}"], expected)


ONES = np.ones((4, 8))


def test_dropout_draws_the_same_mask_for_the_same_seed_and_no_other() -> None:
    network = load(graph([spec("x", (4, 8))], node("drop", "x", dropout=Dropout(rate=0.5))))
    assert signature(network, {"x": ONES}).mode_matters == "drop"
    first, again, other = (
        run(network, {}, {}, {"x": ONES}, training=True, seed=seed).outputs["drop"] for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    assert set(np.unique(first)) == {0.0, 2.0}


def test_dropout_draws_another_mask_in_each_node_and_each_turn() -> None:
    inner = graph(
        free("h", "x"), node("mask", "x", dropout=Dropout(rate=0.5)), node("same", "h", dropout=Dropout(rate=0.0)),
        outputs=["same", "mask"],
    )  # fmt: skip
    network = load(
        graph(
            [spec("x", (4, 8))],
            node("layers", "x x", block=Block(body=inner, repeat=3)),
            node("masks", "layers/mask", reshape=network_pb2.Reshape(shape=[3, -1])),
            node("a", "x", dropout=Dropout(rate=0.5)),
            node("b", "x", dropout=Dropout(rate=0.5)),
            node("c", "x", share="a"),
            outputs=["masks", "a", "b", "c"],
        )
    )
    outputs = run(network, {}, {}, {"x": ONES}, training=True).outputs
    masks = [*outputs["masks"], *(outputs[name].ravel() for name in "abc")]
    assert len({mask.tobytes() for mask in masks}) == 6


def test_dropout_is_the_identity_in_inference() -> None:
    network = load(graph([spec("x", (6, 2))], node("drop", "x", dropout=Dropout(rate=0.9))))
    np.testing.assert_array_equal(run(network, {}, {}, {"x": X}).outputs["drop"], X)


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_dropout_keeps_the_expectation_and_its_gradient_is_its_mask(rate: float) -> None:
    x = np.ones((200, 500))
    network = load(graph([spec("x", x.shape)], node("drop", "x", dropout=Dropout(rate=rate))))
    result = run(network, {}, {}, {"x": x}, training=True, cotangents={"drop": np.ones_like(x)})
    deviation = np.sqrt(rate / (1 - rate) / x.size)
    assert abs(result.outputs["drop"].mean() - 1) < 4 * deviation
    np.testing.assert_array_equal(result.inputs["x"], result.outputs["drop"])

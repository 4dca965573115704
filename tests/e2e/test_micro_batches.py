"""A batch in parts through the server: the result of the whole, less memory, and what has no parts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gradserve as gs

NET = gs.sequential(gs.dense(8), gs.dropout(0.3), gs.tanh(), gs.dense(3), x=("batch", 4))
COUNT = 10


def batch() -> dict[str, np.ndarray[Any, Any]]:
    generator = np.random.default_rng(0)
    return {
        "x": generator.normal(size=(COUNT, 4)).astype(np.float32),
        "y": generator.integers(0, 3, COUNT).astype(np.int32),
        "w": np.array([0, 1, 2, 0.5, 0, 0, 3, 1, 1, 2], np.float32),
    }


def assert_same(found: gs.GradientResult, expected: gs.GradientResult) -> None:
    assert found.loss == pytest.approx(expected.loss, rel=1e-6)
    assert found.weight_sum == pytest.approx(expected.weight_sum)
    assert found.terms == pytest.approx(expected.terms, rel=1e-6)
    for name in ("gradients", "input_gradients", "outputs"):
        for key, value in getattr(expected, name).items():
            scale = float(np.max(np.abs(value)))
            other = getattr(found, name)[key]
            np.testing.assert_allclose(other, value, rtol=1e-6, atol=1e-6 * scale, err_msg=key)


SUM = gs.sum_of_losses(
    {
        "classes": gs.softmax_cross_entropy("y", example_weights="w"),
        "size": (0.1, gs.output_loss(reduction="sum")),
    }
)


@pytest.mark.parametrize("parts", [3, pytest.param(COUNT, marks=pytest.mark.long)])
def test_the_result_is_that_of_the_whole_batch(client_in_process: gs.Client, parts: int) -> None:
    """With dropout, example weights of which some are 0, a mean and a sum; evenly divided and not."""
    weights = client_in_process.initialize(NET, seed=1)
    options: Any = {"loss": SUM, "mode": "training", "seed": 3, "inputs": ["x"], "outputs": ["dense_2"]}
    expected = client_in_process.gradients(NET, weights, batch(), **options)
    found = client_in_process.gradients(NET, weights, batch(), micro_batches=parts, **options)
    assert any(np.any(one) for one in expected.gradients.values())
    assert_same(found, expected)
    assert found.summary.finite


@pytest.mark.parametrize("options", [{"exact_batch": True}, {}, {"micro_batches": 5}])
def test_an_example_of_weight_0_in_one_term_counts_in_another(client_in_process: gs.Client, options: Any) -> None:
    """The derivative along all biases of the last layer, by hand: classes do not depend on it, the sum does."""
    weights = client_in_process.initialize(NET, seed=1)
    found = client_in_process.gradients(NET, weights, batch(), loss=SUM, mode="inference", **options)
    logits = (
        client_in_process.forward(NET, weights, {"x": batch()["x"]}, mode="inference")
        .outputs["dense_2"]
        .astype(np.float64)
    )
    sent = batch()
    own = np.log(np.sum(np.exp(logits), axis=1)) - logits[np.arange(COUNT), sent["y"]]
    expected = np.sum(own * sent["w"]) / np.sum(sent["w"]) + 0.1 * np.sum(logits)
    assert found.loss == pytest.approx(expected, rel=1e-5)
    assert np.sum(found.gradients["dense_2/bias"]) == pytest.approx(0.1 * COUNT * 3, rel=1e-5)
    kernel = np.sum(found.gradients["dense_2/kernel"], axis=1)
    hidden = np.tanh(sent["x"] @ weights["dense_1/kernel"] + weights["dense_1/bias"])
    np.testing.assert_allclose(kernel, 0.3 * np.sum(hidden, axis=0), rtol=1e-4, atol=1e-5)


def penalized() -> gs.Loss:
    """The mean of the outputs and a penalty on a parameter, which no example has a part of."""
    graph = gs.GraphBuilder()
    kernel = graph.input("dense_1/kernel")
    graph.add(gs.reduce_sum(), graph.add(gs.square(), kernel))
    return gs.sum_of_losses({"output": gs.output_loss(), "penalty": (0.5, gs.custom_loss(graph.build()))})


def test_what_no_example_has_a_part_of_counts_once(client_in_process: gs.Client) -> None:
    weights = client_in_process.initialize(NET, seed=1)
    options: Any = {"loss": penalized(), "mode": "inference"}
    x = {"x": batch()["x"]}
    expected = client_in_process.gradients(NET, weights, x, **options)
    found = client_in_process.gradients(NET, weights, x, micro_batches=5, checkpointing="blocks", **options)
    assert_same(found, expected)


def test_float16_and_parts_go_together(client_in_process: gs.Client) -> None:
    weights = client_in_process.initialize(NET, seed=1)
    options: Any = {"loss": SUM, "mode": "inference", "precision": "float16", "loss_scale": 4096.0}
    expected = client_in_process.gradients(NET, weights, batch(), **options)
    found = client_in_process.gradients(NET, weights, batch(), micro_batches=5, **options)
    for name, value in expected.gradients.items():
        np.testing.assert_allclose(found.gradients[name], value, atol=2e-3 * float(np.max(np.abs(value))))


def in_batch() -> gs.Loss:
    """Each row against the mean of all."""
    graph = gs.GraphBuilder()
    out = graph.input("dense_2")
    graph.add(gs.square(), out - graph.add(gs.reduce_mean(axes=[0], keep_axes=True, name="centre"), out))
    return gs.custom_loss(graph.build())


REFUSED: list[tuple[gs.Network, Callable[[], gs.Loss], str]] = [
    (
        gs.sequential(gs.dense(3), gs.batch_normalization(), gs.dense(3), x=("batch", 4)),
        lambda: gs.softmax_cross_entropy("y"),
        "batch_normalization_1",
    ),
    (NET, in_batch, "centre"),
]


@pytest.mark.parametrize(("net", "loss", "node"), REFUSED)
def test_what_has_no_parts_is_refused_with_the_node(
    client_in_process: gs.Client, net: gs.Network, loss: Callable[[], gs.Loss], node: str
) -> None:
    weights = client_in_process.initialize(net)
    known = {name: batch()[name] for name in ("x", "y") if name == "x" or node != "centre"}
    with pytest.raises(gs.GradserveError) as caught:
        client_in_process.gradients(net, weights, known, loss=loss(), mode="training", micro_batches=2)
    assert caught.value.reason == "DEPENDENT_EXAMPLES"
    assert caught.value.field == "options.micro_batches"
    assert (caught.value.node or "") == node


@pytest.mark.long
def test_every_call_but_a_trace_takes_parts(client_in_process: gs.Client) -> None:
    """With dropout, whose mask is that of the whole batch."""
    client, x = client_in_process, {"x": batch()["x"]}
    weights = client.initialize(NET, seed=1)
    options: Any = {"mode": "training", "seed": 3}
    tangents = {"dense_1/bias": np.ones(8, np.float32)}
    calls: list[Callable[..., dict[str, Any]]] = [
        lambda **parts: client.forward(NET, weights, x, **options, **parts).outputs,
        lambda **parts: (
            client.jacobian_product(NET, weights, x, weight_tangents=tangents, **options, **parts).output_tangents
        ),
        lambda **parts: client.hessian_product(NET, weights, batch(), tangents, loss=SUM, **options, **parts).product,
    ]
    for call in calls:
        expected, found = call(), call(micro_batches=3)
        assert any(np.any(value) for value in expected.values())
        for name, value in expected.items():
            scale = float(np.max(np.abs(value)))
            np.testing.assert_allclose(found[name], value, rtol=1e-6, atol=1e-6 * scale, err_msg=name)


def test_more_parts_than_examples_are_refused(client_in_process: gs.Client) -> None:
    weights = client_in_process.initialize(NET)
    with pytest.raises(gs.InvalidRequest) as caught:
        client_in_process.gradients(NET, weights, batch(), loss=SUM, mode="inference", micro_batches=COUNT + 1)
    assert caught.value.expected == f"at most {COUNT}"


def test_what_is_wrong_with_the_data_is_found_in_any_part(client_in_process: gs.Client) -> None:
    bad = batch() | {"y": np.full(COUNT, 7, np.int32)}
    weights = client_in_process.initialize(NET)
    with pytest.raises(gs.InvalidRequest) as caught:
        client_in_process.gradients(NET, weights, bad, loss=SUM, mode="inference", micro_batches=2)
    assert caught.value.reason == "INDEX_OUT_OF_RANGE"

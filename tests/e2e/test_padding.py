"""Batches of many sizes through the server: few programs, and the answers that the batches have by themselves."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gradserve as gs

NET = gs.sequential(gs.dropout(0.3), gs.dense(3), x=("batch", 4))
# Little to compile, where no more is needed.
PLAIN = gs.sequential(gs.dense(3), x=("batch", 4))
NORMALIZED = gs.sequential(gs.dense(3), gs.batch_normalization(), gs.dense(3), x=("batch", 4))
SUM = gs.sum_of_losses(
    {"classes": gs.softmax_cross_entropy("y", example_weights="w"), "size": (0.1, gs.output_loss(reduction="sum"))}
)


def batch(count: int = 10) -> dict[str, np.ndarray[Any, Any]]:
    generator = np.random.default_rng(count)
    weights = generator.uniform(0.5, 2, count).astype(np.float32)
    # The first is what padding is made of; where it does not count, it may be anything.
    weights[: count // 3] = 0
    x = generator.normal(size=(count, 4)).astype(np.float32)
    x[0] = np.nan
    return {"x": x, "y": generator.integers(0, 3, count).astype(np.int32), "w": weights}


def ways(found: gs.GradientResult) -> dict[str, Any]:
    arrays = {**found.gradients, **found.input_gradients, **found.outputs}
    numbers = {"loss": found.loss, "weight_sum": found.weight_sum, "norm": found.summary.global_norm, **found.terms}
    each = {"losses": found.example_losses, "norms": found.example_norms}
    return {**arrays, **numbers, **{name: value for name, value in each.items() if value is not None}}


def assert_as_unpadded(
    client: gs.Client, count: int, sent: dict[str, Any], net: gs.Network = PLAIN, **how: Any
) -> None:
    """With and without padding: the same, and the one of a larger size than the other."""
    weights = client.initialize(net, seed=1)
    found = client.gradients(net, weights, sent, mode="training", seed=3, **how)
    expected = client.gradients(net, weights, sent, mode="training", seed=3, exact_batch=True, **how)
    assert expected.timing.padded_examples == count
    assert found.timing.padded_examples == 12
    assert found.summary.finite == expected.summary.finite is True
    for name, value in ways(expected).items():
        scale = float(np.max(np.abs(value)))
        np.testing.assert_allclose(ways(found)[name], value, rtol=1e-6, atol=1e-6 * scale, err_msg=name)


def test_weighted_sums_with_dropout_are_those_of_the_batch(client_in_process: gs.Client) -> None:
    """Draws of chance too: each example has those that it has without padding."""
    sent = batch()
    sent["x"][0] = 1
    assert_as_unpadded(client_in_process, 10, sent, NET, loss=SUM, inputs=["x"], outputs=["dense_1"])


def test_padding_is_harmless_where_the_row_that_it_repeats_does_not_count(client_in_process: gs.Client) -> None:
    assert_as_unpadded(client_in_process, 10, batch(), loss=gs.softmax_cross_entropy("y", example_weights="w"))


def test_terms_without_weights_count_what_was_sent(client_in_process: gs.Client) -> None:
    """Where the row that padding repeats has weight 0 in another term."""
    sent = batch()
    sent["x"][0] = 1
    assert_as_unpadded(client_in_process, 10, sent, loss=SUM)


@pytest.mark.parametrize(
    "reduction", ["mean", *(pytest.param(one, marks=pytest.mark.long) for one in ("sum", "sum_then_mean"))]
)
def test_every_reduction_counts_what_was_sent(client_in_process: gs.Client, reduction: Any) -> None:
    sent = batch()
    sent["x"][0] = 1
    del sent["w"]
    options: Any = {"example_summary": True} if reduction == "mean" else {}
    assert_as_unpadded(client_in_process, 10, sent, loss=gs.softmax_cross_entropy("y", reduction=reduction), **options)


def test_gradients_by_example_have_no_rows_of_padding(client_in_process: gs.Client) -> None:
    sent = batch()
    sent["x"][0] = 1
    del sent["w"]
    loss = gs.softmax_cross_entropy("y")
    assert_as_unpadded(client_in_process, 10, sent, loss=loss, per_example=True, inputs=["x"])


def test_sizes_share_programs(client_in_process: gs.Client) -> None:
    weights = client_in_process.initialize(PLAIN, seed=1)
    loss = gs.squared_error("t")
    sizes = []
    for count in (9, 10, 11, 12):
        sent = {"x": np.ones((count, 4), np.float32), "t": np.ones((count, 3), np.float32)}
        result = client_in_process.gradients(PLAIN, weights, sent, loss=loss)
        sizes.append(result.timing.padded_examples)
        assert result.weight_sum == 3 * count
    assert sizes == [12] * 4


def test_a_batch_of_their_size_runs_the_same_program(client_in_process: gs.Client) -> None:
    """Where the network is not small: nothing is compiled for it."""
    net = gs.sequential(gs.dense(3), x=("batch", 20_000))
    weights = client_in_process.initialize(net, seed=1)
    loss = gs.softmax_cross_entropy("y")
    compiled = []
    for count in (5, 6):
        x = np.random.default_rng(count).normal(size=(count, 20_000)).astype(np.float32)
        sent = {"x": x, "y": np.zeros(count, np.int32)}
        found = client_in_process.gradients(net, weights, sent, loss=loss)
        compiled.append(found.timing.compile)
        assert found.timing.padded_examples == 6
        logits = x.astype(np.float64) @ weights["dense_1/kernel"] + weights["dense_1/bias"]
        expected = np.mean(np.log(np.exp(logits).sum(1)) - logits[:, 0])
        assert found.loss == pytest.approx(expected, rel=1e-5)
    assert compiled[1] < compiled[0] / 2


def test_forward_passes_give_the_rows_that_were_sent(client_in_process: gs.Client) -> None:
    weights = client_in_process.initialize(PLAIN, seed=1)
    x = {"x": np.random.default_rng(0).normal(size=(10, 4)).astype(np.float32)}
    found = client_in_process.forward(PLAIN, weights, x)
    expected = client_in_process.forward(PLAIN, weights, x, exact_batch=True)
    assert (found.timing.padded_examples, expected.timing.padded_examples) == (12, 10)
    assert found.outputs["dense_1"].shape == (10, 3)
    np.testing.assert_allclose(found.outputs["dense_1"], expected.outputs["dense_1"], rtol=1e-6, atol=1e-6)


def test_batch_statistics_are_of_the_batch_as_it_was_sent(client_in_process: gs.Client) -> None:
    weights = client_in_process.initialize(NORMALIZED, seed=1)
    sent = {"x": np.random.default_rng(0).normal(size=(10, 4)).astype(np.float32), "y": np.zeros(10, np.int32)}
    found = client_in_process.gradients(NORMALIZED, weights, sent, loss=gs.softmax_cross_entropy("y"), mode="training")
    assert found.timing.padded_examples == 10


def test_what_is_wrong_is_told_in_the_numbers_that_were_sent(client_in_process: gs.Client) -> None:
    weights = client_in_process.initialize(PLAIN)
    sent = {"x": np.ones((10, 5), np.float32), "y": np.zeros(10, np.int32)}
    with pytest.raises(gs.InvalidRequest) as caught:
        client_in_process.gradients(PLAIN, weights, sent, loss=gs.softmax_cross_entropy("y"))
    assert "10, 5" in str(caught.value)


@pytest.mark.parametrize(
    ("output", "body"),
    [
        # The half of 6 and of 7, rounded down; that of 5 is another.
        ("n, 12", "s = Shape(x) n = Slice(s, zero, one) half = Div(n, two) f = Cast<to = 1>(half) y = Mul(x, f)"),
        # Axes that 6 examples happen to fit.
        ("12", "r = Reshape(x, features) y = ReduceSum<keepdims = 0>(r, one)"),
    ],
)
def test_models_that_compute_with_sizes_are_not_padded(client_in_process: gs.Client, output: str, body: str) -> None:
    constants = "int64[1] zero = {0}, int64[1] one = {1}, int64[1] two = {2}, int64[2] features = {12, -1}"
    net = gs.onnx_text(
        f'<ir_version: 10, opset_import: ["": 21]> g (float[n, 12] x) => (float[{output}] y) <{constants}> {{ {body} }}'
    )
    x = np.random.default_rng(0).normal(size=(5, 12)).astype(np.float32)
    found = client_in_process.forward(net, None, {"x": x})
    expected = x * 2 if "Mul" in body else x.reshape(12, 5).sum(1)
    np.testing.assert_allclose(found.outputs["y"], expected, rtol=1e-5, atol=1e-6)

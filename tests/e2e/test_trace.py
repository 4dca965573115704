"""Traces through the real server: what is shown, and that it is what ComputeGradients computes."""

from __future__ import annotations

import numpy as np
import pytest

import gradserve as gs
from tests.e2e.test_worked_example import EXACT, Y, network
from tests.formulas import read

BATCH = {"x": np.array([2.0]), "target": np.array([1.0])}
WEIGHTS = {name: np.float64(value) for name, value in (("w1", 0.5), ("b1", 0.1), ("w2", 0.3), ("b2", 0.2))}
GRADIENTS = {
    **EXACT,
    "x": (Y - 1) * 0.3 * 0.5,
    "add_1": (Y - 1) * 0.3,
    "h1": (Y - 1) * 0.3,
    "add_2": Y - 1,
    "y": -1 / Y,
}


def test_the_worked_example_has_nine_gradients(client: gs.Client) -> None:
    result = client.trace(network(), WEIGHTS, BATCH, loss=gs.binary_cross_entropy(prediction="y", target="target"))
    assert result.loss == pytest.approx(-np.log(Y), abs=1e-6)
    assert len(GRADIENTS) == 9
    for name, exact in GRADIENTS.items():
        value = result[name]
        assert value.gradient is not None
        assert value.gradient_tensor is not None
        assert value.gradient.mean == pytest.approx(exact, abs=1e-6)
        assert value.gradient_tensor.item() == pytest.approx(exact, abs=1e-6)
    assert result["target"].gradient is None
    assert result.flow.verdict == "healthy"


def test_repeated_blocks_are_shown_turn_by_turn(client: gs.Client) -> None:
    inner = gs.repeat(gs.dense(4), 2)
    net = gs.sequential(gs.dense(4), gs.repeat(gs.residual(gs.tanh(), inner), 3), gs.dense(2), x=("batch", 4))
    batch = {"x": np.linspace(-1, 1, 12).reshape(3, 4), "y": np.ones((3, 2))}
    weights, loss = client.initialize(net, 0), gs.squared_error(target="y")
    result = client.trace(net, weights, batch, loss=loss, whole_tensors_up_to=1000)
    gradients = client.gradients(net, weights, batch, loss=loss)
    for name, gradient in gradients.gradients.items():
        traced = result[name].gradient_tensor
        assert traced is not None
        np.testing.assert_array_equal(traced, gradient, strict=True)
    kernel = "block_1/residual_1/block_1/dense_1/kernel"
    for outer in range(3):
        for turn in range(2):
            part = result[f"block_1/{outer}/residual_1/block_1/{turn}/dense_1/kernel"].gradient_tensor
            assert part is not None
            np.testing.assert_array_equal(part, gradients.gradients[kernel][outer, turn])
    names = [value.name for value in result]
    assert len(set(names)) == len(names)
    for index, value in enumerate(result):
        assert set(value.inputs) <= set(names[:index]), value.name


def test_names_choose_values_and_are_refused_where_they_fit_none(client: gs.Client) -> None:
    loss = gs.binary_cross_entropy(prediction="y", target="target")
    result = client.trace(network(), WEIGHTS, BATCH, loss=loss, names=["w*", "!w2"], whole_tensors_up_to=0)
    assert [value.name for value in result] == ["w1"]
    assert result["w1"].value_tensor is None
    with pytest.raises(gs.InvalidRequest, match="add_1") as caught:
        client.trace(network(), WEIGHTS, BATCH, loss=loss, names=["ad_1"])
    assert caught.value.reason == "INVALID_PATTERN"


def test_a_target_with_the_name_of_a_node_is_another_value(client: gs.Client) -> None:
    graph = gs.GraphBuilder()
    y = graph.add(gs.dense(1), graph.input("x", "batch", 2), name="y")
    net = graph.build(outputs=[graph.add(gs.tanh(), y, name="out")])
    batch = {"x": np.ones((1, 2), np.float32), "y": np.full((1, 1), 7, np.float32)}
    result = client.trace(net, gs.seeded(0), batch, loss=gs.squared_error(target="y"))
    assert result["target:y"].value.mean == 7
    assert result["y"].operation == "dense"
    assert result["y"].value.mean != 7


def test_the_numbers_of_each_chain_rule_come_to_the_gradient(client: gs.Client) -> None:
    graph = gs.GraphBuilder()
    x = graph.input("x", "batch", dtype="float64")
    w = graph.parameter("w")
    a = graph.add(gs.relu(), w * x, name="a")
    b = graph.add(gs.elu(), a - 3 * w, name="b")
    c = graph.add(gs.sigmoid(), a / x + b, name="c")
    net = graph.build(outputs=[graph.arithmetic("power", c, a, name="out") - c * a])
    batch = {"x": np.array([1.3]), "y": np.array([0.4])}
    result = client.trace(net, {"w": np.float64(0.7)}, batch, loss=gs.squared_error(target="y"))
    fan_outs = 0
    for value in result:
        if value.gradient is None:
            continue
        _, in_names, *in_numbers = value.chain_rule.partition(";")[0].split(" = ")
        assert in_numbers, value.chain_rule
        assert float(in_numbers[-1]) == pytest.approx(value.gradient.mean, rel=1e-5)
        if len(in_numbers) > 1:
            assert read(in_numbers[0], {}) == pytest.approx(value.gradient.mean, rel=1e-4, abs=1e-6), value.chain_rule
        fan_outs += in_names.count("dL/d") > 1
    assert fan_outs >= 3

"""Gradients by example, products and checks through a real server, held against differences and by hand."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gradserve as gs
from gradserve.cli import main

EXAMPLES = 4
NET = gs.sequential(
    gs.dense(5), gs.tanh(), gs.repeat([gs.dense(5), gs.tanh()], 3), gs.dense(2), x=gs.spec("batch", 3, dtype="float64")
)
DRAWN = np.random.default_rng(0)
BATCH = {"x": DRAWN.normal(size=(EXAMPLES, 3)), "y": DRAWN.normal(size=(EXAMPLES, 2))}
LOSS = gs.squared_error("y")
STEP = 1e-5
Arrays = Mapping[str, Any]


@pytest.fixture(scope="module")
def weights(client: gs.Client) -> dict[str, np.ndarray]:
    found = client.initialize(NET, seed=0)
    return {name: value.astype(np.float64) + DRAWN.uniform(0, 0.2, value.shape) for name, value in found.items()}


def like(arrays: Arrays) -> dict[str, np.ndarray]:
    return {name: DRAWN.normal(size=value.shape) for name, value in arrays.items()}


def moved(arrays: Arrays, along: Arrays, step: float) -> dict[str, np.ndarray]:
    return {name: value + step * along[name] if name in along else value for name, value in arrays.items()}


def dot(one: Arrays, other: Arrays) -> float:
    return float(sum(np.sum(value * other[name]) for name, value in one.items()))


def test_gradients_of_examples_add_up_to_the_batch_s(client: gs.Client, weights: Arrays) -> None:
    whole = client.gradients(NET, weights, BATCH, loss=LOSS, inputs=["x"])
    own = client.gradients(NET, weights, BATCH, loss=LOSS, inputs=["x"], per_example=True, example_summary=True)
    assert whole.example_losses is None
    assert own.example_losses is not None
    assert own.example_norms is not None
    np.testing.assert_allclose(own.example_losses.mean(), whole.loss, rtol=1e-12)
    for name, gradient in whole.gradients.items():
        np.testing.assert_allclose(own.gradients[name].mean(0), gradient, rtol=1e-10, atol=1e-13)
    np.testing.assert_allclose(own.input_gradients["x"] / EXAMPLES, whole.input_gradients["x"], rtol=1e-10)
    squares = sum(np.square(one.reshape(EXAMPLES, -1)).sum(1) for one in own.gradients.values())
    np.testing.assert_allclose(own.example_norms, np.sqrt(squares), rtol=1e-12)


def test_clipped_examples_have_at_most_the_norm(client: gs.Client, weights: Arrays) -> None:
    own = client.gradients(NET, weights, BATCH, loss=LOSS, per_example=True, example_summary=True)
    assert own.example_norms is not None
    most = float(np.median(own.example_norms))
    clipped = client.gradients(NET, weights, BATCH, loss=LOSS, clip_example_norm=most)
    factors = np.minimum(1, most / own.example_norms)
    for name, gradient in clipped.gradients.items():
        expected = np.tensordot(factors, own.gradients[name], 1) / EXAMPLES
        np.testing.assert_allclose(gradient, expected, rtol=1e-10, atol=1e-13)


def test_examples_that_are_mixed_are_refused_with_the_node(client: gs.Client) -> None:
    net = gs.sequential(gs.dense(2), gs.batch_normalization(name="norm"), x=("batch", 3))
    with pytest.raises(gs.GradserveError) as caught:
        client.gradients(net, gs.seeded(0), BATCH, loss=LOSS, per_example=True, mode="training")
    assert caught.value.metadata["node"] == "norm"
    assert caught.value.reason == "DEPENDENT_EXAMPLES"


def test_a_jacobian_product_is_a_difference_of_outputs(client: gs.Client, weights: Arrays) -> None:
    of_weights, of_inputs = like(weights), {"x": DRAWN.normal(size=BATCH["x"].shape)}
    x = {"x": BATCH["x"]}
    found = client.jacobian_product(NET, weights, x, weight_tangents=of_weights, input_tangents=of_inputs)
    ahead, behind = (
        client.forward(NET, moved(weights, of_weights, step), moved(x, of_inputs, step)).outputs
        for step in (STEP, -STEP)
    )
    (name,) = found.output_tangents
    np.testing.assert_allclose(found.outputs[name], client.forward(NET, weights, x).outputs[name], rtol=1e-12)
    np.testing.assert_allclose(
        found.output_tangents[name], (ahead[name] - behind[name]) / (2 * STEP), rtol=1e-6, atol=1e-8
    )


def test_a_hessian_product_is_a_difference_of_gradients(client: gs.Client, weights: Arrays) -> None:
    vector, other = like(weights), like(weights)
    found = client.hessian_product(NET, weights, BATCH, vector, loss=LOSS)
    ahead, behind = (
        client.gradients(NET, moved(weights, vector, step), BATCH, loss=LOSS).gradients for step in (STEP, -STEP)
    )
    for name, product in found.product.items():
        np.testing.assert_allclose(product, (ahead[name] - behind[name]) / (2 * STEP), rtol=1e-5, atol=1e-7)
    turned = client.hessian_product(NET, weights, BATCH, other, loss=LOSS)
    np.testing.assert_allclose(dot(found.product, other), dot(turned.product, vector), rtol=1e-8)


def test_a_gauss_newton_product_is_that_of_the_jacobian(client: gs.Client, weights: Arrays) -> None:
    """Of squared errors: H is 2 / (number of elements)."""
    vector = like(weights)
    found = client.hessian_product(NET, weights, BATCH, vector, loss=LOSS, matrix="gauss_newton")
    along = client.jacobian_product(NET, weights, {"x": BATCH["x"]}, weight_tangents=vector).output_tangents
    (tangent,) = along.values()
    factor = client.gradients(NET, weights, BATCH, loss=LOSS, outputs=list(along))
    (output,) = factor.outputs.values()
    scale = factor.loss / np.square(output - BATCH["y"]).sum()
    np.testing.assert_allclose(dot(found.product, vector), 2 * scale * np.square(tangent).sum(), rtol=1e-10)


def test_large_vectors_travel_on_a_stream(client: gs.Client) -> None:
    wide = gs.sequential(gs.dense(1024), x=("batch", 1100))
    weights = client.initialize(wide)
    batch = {"x": np.ones((2, 1100), np.float32), "y": np.zeros((2, 1024), np.float32)}
    vector = {name: np.ones_like(value) for name, value in weights.items()}
    product = client.hessian_product(wide, weights, batch, vector, loss=LOSS).product
    # (x w + b - 0)^2: along ones, each output moves by 1100 + 1.
    scale = client.gradients(wide, weights, batch, loss=gs.squared_error("y", reduction="sum"), summary_only=True)
    assert scale.summary.finite
    ratios = product["dense_1/kernel"] / product["dense_1/bias"]
    np.testing.assert_allclose(ratios, 1.0, rtol=1e-5)
    assert product["dense_1/bias"].min() > 0
    tangents = client.jacobian_product(wide, weights, {"x": batch["x"]}, weight_tangents=vector).output_tangents
    np.testing.assert_allclose(tangents["dense_1"], 1101.0, rtol=1e-6)


@pytest.mark.parametrize(
    ("tangents", "reason"),
    [
        ({"nothing": np.ones(3)}, "UNKNOWN_NAME"),
        ({"dense_1/bias": np.ones(3)}, "SHAPE_MISMATCH"),
        ({"dense_1/bias": np.ones(5, np.float32)}, "DTYPE_MISMATCH"),
    ],
)
def test_a_tangent_that_does_not_fit_is_named(client: gs.Client, weights: Arrays, tangents: Any, reason: str) -> None:
    (name,) = tangents
    for field, call in (
        ("vector", lambda: client.hessian_product(NET, weights, BATCH, tangents, loss=LOSS)),
        ("weight_tangents", lambda: client.jacobian_product(NET, weights, {"x": BATCH["x"]}, weight_tangents=tangents)),
    ):
        with pytest.raises(gs.InvalidRequest) as caught:
            call()
        assert (caught.value.reason, caught.value.metadata["field"]) == (reason, f"{field}.{name}")


def test_the_asynchronous_client_has_the_same(client: gs.Client, weights: Arrays) -> None:
    vector = like(weights)

    async def ask() -> tuple[Any, Any, gs.GradientCheck]:
        async with gs.AsyncClient(client.address) as other:
            return (
                await other.hessian_product(NET, weights, BATCH, vector, loss=LOSS),
                await other.jacobian_product(NET, weights, {"x": BATCH["x"]}, weight_tangents=vector),
                await other.check_gradients(NET, weights, BATCH, loss=LOSS, elements=0),
            )

    curved, along, check = asyncio.run(ask())
    expected = client.hessian_product(NET, weights, BATCH, vector, loss=LOSS).product
    for name, product in expected.items():
        np.testing.assert_array_equal(curved.product[name], product)
    assert along.output_tangents.keys() == along.outputs.keys()
    assert check.holds


def test_served_gradients_pass_a_check_in_float64(client: gs.Client) -> None:
    """Whatever type the weights have."""
    net = gs.sequential(gs.dense(4), gs.tanh(), gs.dense(2), x=("batch", 3))
    check = client.check_gradients(net, gs.seeded(1), BATCH, loss=LOSS, inputs=["x"], directions=1, elements=1)
    assert check.holds, check.differing
    names = [(one.name, one.element is None) for one in check.derivatives]
    assert names[:2] == [("", True), ("dense_1/bias", True)]
    assert ("x", False) in names
    assert max(one.relative_error for one in check.derivatives) < 1e-6


def straight_through() -> gs.Network:
    """x + stop_gradient(x^2): what is served is by design not the derivative of the value."""
    builder = gs.GraphBuilder()
    x = builder.input("x", "batch", 3)
    h = builder.add(gs.dense(2), x)
    return builder.build(outputs=[h + builder.add(gs.stop_gradient(), h * h)])


@pytest.fixture
def files(tmp_path: Path) -> Path:
    np.savez(tmp_path / "batch.npz", x=BATCH["x"], y=BATCH["y"])
    gs.save(LOSS, tmp_path / "loss.json")
    return tmp_path


@pytest.mark.parametrize(
    ("network", "code"),
    [(gs.sequential(gs.dense(2), gs.tanh(), x=("batch", 3)), 0), (straight_through(), 1)],
)
def test_the_shell_tells_where_gradients_differ(
    client: gs.Client, files: Path, capsys: pytest.CaptureFixture[str], network: gs.Network, code: int
) -> None:
    gs.save(network, files / "net.json")
    words = ["check", "--weights", "seed:0", "--address", client.address]
    for name, file in (("network", "net.json"), ("loss", "loss.json"), ("batch", "batch.npz")):
        words += [f"--{name}", str(files / file)]
    assert main(words) == code
    assert ("agree with central differences" in capsys.readouterr().out) == (code == 0)
    assert main([*words, "--json"]) == code
    said = json.loads(capsys.readouterr().out)
    assert said["holds"] == (code == 0)
    assert {one["name"] for one in said["derivatives"]} == {"", "dense_1/kernel", "dense_1/bias"}

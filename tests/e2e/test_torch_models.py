"""Models as PyTorch's two exporters write them: outputs and gradients through a real server are PyTorch's own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

import gradserve as gs

FOLDER = Path(__file__).parent / "torch_models"
Arrays = dict[str, np.ndarray]
# Parameters that the exporter merges with those of the layer after them, under the same names.
MERGED = {("convolutional", "new"): {"0.weight", "0.bias"}}


@pytest.fixture(scope="module", params=["perceptron", "convolutional", "recurrent", "block"])
def found(request: pytest.FixtureRequest) -> tuple[str, Arrays]:
    """A model's name, and what PyTorch computed of it."""
    return request.param, safetensors.numpy.load_file(FOLDER / f"{request.param}.safetensors")


@pytest.mark.parametrize("exporter", [pytest.param("old", marks=pytest.mark.long), "new"])
def test_gradients_are_those_of_torch(client: gs.Client, found: tuple[str, Arrays], exporter: str) -> None:
    name, expected = found
    network = gs.load_onnx(FOLDER / f"{name}-{exporter}.onnx")
    loss = gs.squared_error(prediction="y", target="zero")
    batch = {"x": expected["x"], "zero": np.zeros_like(expected["y"])}
    result = client.gradients(network, None, batch, loss=loss, outputs=["y"])
    np.testing.assert_allclose(result.outputs["y"], expected["y"], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(result.loss, np.square(expected["y"]).mean(), rtol=1e-5)
    of_torch = {key.removeprefix("gradient/"): value for key, value in expected.items() if "/" in key}
    # The new exporter transposes some parameters, which then have other names.
    common = (of_torch.keys() & result.gradients.keys()) - MERGED.get((name, exporter), set())
    assert len(common) >= {"old": len(of_torch), "new": 2}[exporter]
    for key in common:
        np.testing.assert_allclose(result.gradients[key], of_torch[key], rtol=1e-3, atol=1e-6, err_msg=key)


def test_the_example_of_the_readme(client: gs.Client) -> None:
    expected = safetensors.numpy.load_file(FOLDER / "convolutional.safetensors")
    network = gs.load_onnx(FOLDER / "convolutional-new.onnx")
    classes = np.array([0, 2, 1], "int32")
    result = client.gradients(
        network, None, {"x": expected["x"], "y": classes}, loss=gs.softmax_cross_entropy(target="y")
    )
    exponentials = np.exp(expected["y"])
    probabilities = exponentials / exponentials.sum(1, keepdims=True)
    # Of the last bias, by hand: the mean of what the probabilities are too large.
    by_hand = (probabilities - np.eye(3)[classes]).mean(0)
    np.testing.assert_allclose(result.gradients["8.bias"], by_hand, rtol=1e-4, atol=1e-6)

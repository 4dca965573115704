"""Networks from elsewhere through a real server: functions of JAX and ONNX models, by SDK and shell."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest

import gradserve as gs
from gradserve.cli import main

GENERATOR = np.random.default_rng(0)
Arrays = dict[str, Any]


def drawn(*shape: int, dtype: str = "float32") -> np.ndarray:
    return GENERATOR.normal(size=shape).astype(dtype)


def cross_entropy(logits: jax.Array, classes: jax.Array) -> jax.Array:
    return -jnp.take_along_axis(jax.nn.log_softmax(logits), classes[:, None], axis=1).mean()


def perceptron(weights: Arrays, inputs: Arrays) -> Arrays:
    hidden = jax.nn.relu(inputs["x"] @ weights["hidden"]["kernel"] + weights["hidden"]["bias"])
    return {"loss": cross_entropy(hidden @ weights["out"], inputs["y"])}


def convolutional(weights: Arrays, inputs: Arrays) -> Arrays:
    numbers = ("NHWC", "HWIO", "NHWC")
    found = jax.lax.conv_general_dilated(
        inputs["x"], weights["kernel"], (1, 1), "SAME", dimension_numbers=jax.lax.conv_dimension_numbers(
            inputs["x"].shape, weights["kernel"].shape, numbers)
    )  # fmt: skip
    found = jax.lax.reduce_window(jnp.tanh(found), -jnp.inf, jax.lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
    return {"loss": cross_entropy(found.mean((1, 2)) @ weights["out"], inputs["y"])}


def attention(weights: Arrays, inputs: Arrays) -> Arrays:
    query, key, value = (inputs["x"] @ weights[name] for name in ("query", "key", "value"))
    mixed = jax.nn.softmax(query @ key.swapaxes(1, 2) / 4, axis=-1) @ value
    mixed = (mixed - mixed.mean(-1, keepdims=True)) / jnp.sqrt(mixed.var(-1, keepdims=True) + 1e-5)
    return {"loss": cross_entropy(mixed.mean(1) @ weights["out"], inputs["y"])}


def looped(weights: Arrays, inputs: Arrays) -> Arrays:
    def turn(hidden: jax.Array, kernel: jax.Array) -> tuple[jax.Array, None]:
        return jnp.tanh(hidden @ kernel), None

    hidden, _ = jax.lax.scan(turn, inputs["x"], weights["kernels"])
    return {"loss": cross_entropy(hidden @ weights["out"], inputs["y"])}


FUNCTIONS: dict[str, tuple[Callable[[Arrays, Arrays], Arrays], Any, tuple[int, ...]]] = {
    "perceptron": (
        perceptron,
        {"hidden": {"kernel": drawn(64, 128), "bias": drawn(128)}, "out": drawn(128, 10)},
        (32, 64),
    ),
    "convolutional": (convolutional, {"kernel": drawn(3, 3, 3, 8), "out": drawn(8, 10)}, (8, 12, 12, 3)),
    "attention": (
        attention,
        {"query": drawn(16, 16), "key": drawn(16, 16), "value": drawn(16, 16), "out": drawn(16, 10)},
        (8, 12, 16),
    ),
    "looped": (looped, {"kernels": drawn(6, 32, 32), "out": drawn(32, 10)}, (16, 32)),
}


@pytest.mark.parametrize(
    ("name", "rows"),
    [
        ("perceptron", "batch"),
        ("convolutional", "fixed"),
        ("attention", "batch"),
        pytest.param("attention", "fixed", marks=pytest.mark.long),
        ("looped", "fixed"),
    ],
)
def test_an_artifact_gives_the_bits_that_it_gives_when_it_is_jitted_locally(
    client: gs.Client, name: str, rows: str
) -> None:
    function, weights, shape = FUNCTIONS[name]
    x, y = drawn(*shape), GENERATOR.integers(0, 10, shape[0]).astype("int32")
    size: Any = "batch" if rows == "batch" else shape[0]
    inputs = {"x": gs.spec(size, *shape[1:]), "y": gs.spec(size, dtype="int32")}
    network = gs.from_jax(function, weights, inputs, platforms=["cpu"])
    result = client.gradients(network, gs.flatten_weights(weights), {"x": x, "y": y}, loss=gs.output_loss("loss"))
    gradients = gs.unflatten_weights(result.gradients, weights)

    local = jax.export.deserialize(bytearray(network.to_bytes()))
    loss, expected = jax.jit(jax.value_and_grad(lambda w, i: local.call(w, i)["loss"]))(weights, {"x": x, "y": y})
    assert np.float32(result.loss) == loss
    jax.tree.map(np.testing.assert_array_equal, gradients, expected)

    loss, expected = jax.jit(jax.value_and_grad(lambda w, i: function(w, i)["loss"]))(weights, {"x": x, "y": y})
    if name == "attention":  # the forward pass is computed again in the backward pass, and so rounded in other places
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), gradients, expected)
    else:
        assert np.float32(result.loss) == loss
        jax.tree.map(np.testing.assert_array_equal, gradients, expected)


def test_an_artifact_in_64_bits_gives_gradients_in_64(client: gs.Client) -> None:
    weights, x = {"a": drawn(4, dtype="float64")}, drawn(3, 4, dtype="float64")
    with jax.enable_x64(True):
        network = gs.from_jax(
            lambda w, i: {"loss": jnp.sum(jnp.sin(i["x"] * w["a"]))},
            weights,
            {"x": gs.spec("rows", 4, dtype="float64")},
        )
    result = client.gradients(network, weights, {"x": x}, loss=gs.output_loss("loss"), inputs=["x"])
    assert result.gradients["a"].dtype == np.float64
    np.testing.assert_allclose(result.gradients["a"], (x * np.cos(x * weights["a"])).sum(0), rtol=1e-13)
    np.testing.assert_allclose(result.input_gradients["x"], weights["a"] * np.cos(x * weights["a"]), rtol=1e-13)
    described = client.describe(network, dimensions={"rows": 3})
    assert described.inputs == network.inputs
    assert str(described.parameters[0]) == "a: float64[4]"
    assert described.memory[0].fits


def test_an_array_is_one_output_and_sizes_are_checked_by_name(client: gs.Client) -> None:
    weights = {"a": drawn(4)}
    network = gs.from_jax(lambda w, i: i["x"] * w["a"], weights, {"x": ("rows", 4)})
    assert network.outputs == ("output",)
    x = drawn(2, 4)
    np.testing.assert_array_equal(client.forward(network, weights, {"x": x}).outputs["output"], x * weights["a"])
    with pytest.raises(gs.InvalidRequest) as caught:
        client.forward(network, weights, {"x": drawn(2, 5)})
    assert (caught.value.reason, caught.value.expected) == ("SHAPE_MISMATCH", "float32[rows, 4]")
    with pytest.raises(gs.InvalidRequest) as caught:
        client.forward(network, {"a": drawn(5)}, {"x": x})
    assert (caught.value.reason, caught.value.field) == ("SHAPE_MISMATCH", "weights.a")
    with pytest.raises(gs.InvalidRequest) as caught:
        client.forward(network, {"a": drawn(4, dtype="float64")}, {"x": x})
    assert caught.value.reason == "DTYPE_MISMATCH"


@pytest.mark.parametrize(
    "ask",
    [
        lambda client, network: client.initialize(network),
        lambda client, network: client.forward(network, gs.seeded(0), {"x": drawn(2, 4)}),
    ],
)
def test_what_an_artifact_cannot_have_is_refused_with_the_reason(client: gs.Client, ask: Any) -> None:
    network = gs.from_jax(lambda w, i: i["x"] * w["a"], {"a": drawn(4)}, {"x": ("rows", 4)}, platforms=["cpu"])
    with pytest.raises(gs.Unsupported) as caught:
        ask(client, network)
    assert caught.value.reason == "UNSUPPORTED_BY_NETWORK"
    assert "how its weights start" in caught.value.hint


MODEL = """<ir_version: 10, opset_import: ["": 21]>
logistic (float[batch, 2] x) => (float[batch, 1] y) <float[2, 1] kernel = {0.5, -1.0}, float[1] bias = {0.25}> {
    product = MatMul(x, kernel)
    sum = Add(product, bias)
    y = Sigmoid(sum)
}"""


def logistic_gradient(x: np.ndarray) -> np.ndarray:
    """Of the mean of sigmoid(x kernel + bias), by hand."""
    output = 1 / (1 + np.exp(-(x @ [[0.5], [-1.0]] + 0.25)))
    return (x * output * (1 - output)).mean(0)[:, None]


def test_an_onnx_model_as_text_and_as_bytes_gives_gradients_of_its_own_weights(
    client: gs.Client, tmp_path: Path
) -> None:
    import onnx.parser

    path = tmp_path / "logistic.onnx"
    path.write_bytes(onnx.parser.parse_model(MODEL).SerializeToString())
    x = drawn(5, 2)
    for network in (gs.onnx_text(MODEL), gs.load_onnx(path), gs.load(path)):
        result = client.gradients(network, None, {"x": x}, loss=gs.output_loss("y"))
        np.testing.assert_allclose(result.gradients["kernel"], logistic_gradient(x), rtol=1e-5)
    weights = client.initialize(gs.load_onnx(path))
    np.testing.assert_array_equal(weights["kernel"], np.array([[0.5], [-1.0]], "float32"))


UNSUPPORTED = """<ir_version: 10, opset_import: ["": 21, "com.example": 1]>
odd (float[batch, 2] x) => (float[batch, 2] y) {
    one = com.example.Twist(x)
    two = com.example.Turn(one)
    y = Relu(two)
}"""


@pytest.fixture
def address(client: gs.Client) -> str:
    return client.address


def test_the_shell_describes_and_differentiates_files_of_each_format(
    address: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights, x = {"kernel": drawn(2, 1)}, drawn(3, 2)
    network = gs.from_jax(lambda w, i: {"y": jnp.tanh(i["x"] @ w["kernel"])}, weights, {"x": ("batch", 2)})
    gs.save(network, tmp_path / "net.stablehlo")
    gs.save(gs.onnx_text(MODEL), tmp_path / "net.onnxtxt")
    gs.save_weights(weights, tmp_path / "w.safetensors")
    gs.save(gs.output_loss("y"), tmp_path / "loss.json")
    np.savez(tmp_path / "b.npz", x=x)
    for file, more in (("net.stablehlo", ["--weights", str(tmp_path / "w.safetensors")]), ("net.onnxtxt", [])):
        path = tmp_path / file
        assert main(["describe", str(path), "--address", address, "--json"]) == 0
        said = json.loads(capsys.readouterr().out)
        assert [(one["name"], one["shape"]) for one in said["inputs"]] == [("x", ["batch", 2])]
        assert {"name": "kernel", "data_type": "float32", "shape": [2, 1]} in said["parameters"]
        output = tmp_path / "g.safetensors"
        arguments = ["--batch", str(tmp_path / "b.npz"), "--loss", str(tmp_path / "loss.json"), "--output", str(output)]
        assert main(["grad", "--network", str(path), *more, *arguments, "--address", address, "--json"]) == 0
        capsys.readouterr()
        assert gs.load_weights(output)["kernel"].shape == (2, 1)
    np.testing.assert_allclose(gs.load_weights(output)["kernel"], logistic_gradient(x), rtol=1e-5)


def test_the_shell_lists_all_that_a_model_has_and_the_server_does_not(
    address: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "odd.onnxtxt"
    path.write_text(UNSUPPORTED)
    assert main(["describe", str(path), "--address", address]) != 0
    said = capsys.readouterr().err
    assert "com.example:Twist" in said
    assert "com.example:Turn" in said


TRACED = """<ir_version: 10, opset_import: ["": 21, "own": 1]>
traced (float[batch, 2] x) => (float[batch, 2] y, float[batch, 2] loop) <float[2] w = {0.5, -1.0}, int64 turns = {3}> {
    [x] scaled = Mul(x, w)
    [twice] doubled = own.Twice(scaled)
    [loop] looped = Loop <body = body (int64 turn, bool before, float[A, B] in) => (bool after, float[A, B] out) {
        after = Identity(before)
        out = Mul(in, w)
    }> (turns, "", doubled)
    [y] loop = Tanh(looped)
    [last] y = Add(loop, x)
}
<opset_import: ["": 21], domain: "own"> Twice (a) => (b) { [add] b = Add(a, a) }"""


def test_a_trace_of_a_model_follows_values_through_functions_loops_and_names_that_mean_two_things(
    client: gs.Client,
) -> None:
    x = drawn(3, 2)
    traced = client.trace(gs.onnx_text(TRACED), None, {"x": x}, loss=gs.output_loss("y"))
    w = np.array([0.5, -1.0], "float32")
    looped = 2 * x * w**4
    known = {
        "x:scaled": (("x", "w"), x * w),
        "twice/add": (("x:scaled",), 2 * x * w),
        "twice": (("twice/add",), 2 * x * w),
        "loop:looped": (("twice", "w"), looped),
        "y:loop": (("loop:looped",), np.tanh(looped)),
        "y": (("last",), np.tanh(looped) + x),
    }
    for name, (inputs, value) in known.items():
        assert traced[name].inputs == inputs
        np.testing.assert_allclose(traced[name].value_tensor, value, rtol=1e-5)
    slope = 1 - np.tanh(looped) ** 2
    np.testing.assert_allclose(traced["loop:looped"].gradient_tensor, slope / 6, rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(traced["w"].gradient_tensor, (slope * 8 * x * w**3).sum(0) / 6, rtol=1e-4)

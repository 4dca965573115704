"""Models as networks: weights of their own, static inputs, folded shapes, precision."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gradserve.v1 import loss_pb2
from gradserve_server.common.errors import Problem, Reason, ValuesNeeded
from gradserve_server.common.specs import NetworkSource, Selection
from tests.unit.compute.onnx.models import EXECUTOR, compute, forward, gradients, load, model, serialized

LINEAR = (
    "(float[N,3] x) => (float[N,2] y) <float[3,2] w={1,2,3,4,5,6}, float[2] b={0,1}> {h = MatMul(x, w) y = Add(h, b)}"
)
X = np.arange(6, dtype=np.float32).reshape(2, 3)
W = np.arange(1, 7, dtype=np.float32).reshape(3, 2)


def test_float_initializers_are_parameters_with_their_values_as_defaults() -> None:
    assert {name: array.tolist() for name, array in load(LINEAR).own_weights.items()} == {
        "w": W.tolist(),
        "b": [0.0, 1.0],
    }
    np.testing.assert_allclose(forward(LINEAR, {"x": X})["y"], X @ W + [0, 1])


def test_some_weights_can_be_sent_while_others_stay_the_models_own() -> None:
    b = np.array([10, 20], np.float32)
    np.testing.assert_allclose(forward(LINEAR, {"x": X}, {"b": b})["y"], X @ W + b)


def test_text_and_bytes_are_the_same_network() -> None:
    source = NetworkSource("onnx", serialized(LINEAR))
    np.testing.assert_array_equal(compute(source, {"x": X}, {})["output"]["y"], forward(LINEAR, {"x": X})["y"])


def test_gradients_of_all_parameters_and_of_the_input() -> None:
    found = gradients(LINEAR, {"x": X}, output="y")
    np.testing.assert_allclose(found["w"], np.repeat(X.sum(0)[:, None], 2, 1))
    np.testing.assert_allclose(found["b"], [2, 2])
    np.testing.assert_allclose(found["x"], np.repeat(W.sum(1)[None], 2, 0))


def test_weights_in_double_compute_in_double() -> None:
    found = forward(LINEAR, {"x": X}, {"w": W.astype(np.float64), "b": np.full(2, 1e-12)})["y"]
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found, X.astype(np.float64) @ W + 1e-12)


def test_a_model_with_doubles_keeps_its_floats() -> None:
    y = forward("(double[2] x) => (float[2] y) {y = Cast <to = 1> (x)}", {"x": np.array([1.5, 2.5])})["y"]
    assert y.dtype == np.float32


def test_an_input_that_decides_shapes_is_static() -> None:
    body = "(float[N] x, int64[2] s) => (float[A,B] y) {y = Reshape(x, s)}"
    assert load(body).static_inputs == ("s",)
    x = np.arange(6, dtype=np.float32)
    for shape in ((2, 3), (3, 2)):
        assert forward(body, {"x": x, "s": np.array(shape)})["y"].shape == shape


def test_a_static_input_has_no_gradient() -> None:
    body = """(float[N] x, float limit) => (float[A] y) <float zero={0}, float one={1}> {
        r = Range(zero, limit, one) y = Mul(x, r)
    }"""
    assert load(body).static_inputs == ("limit",)
    source = NetworkSource("onnx_text", model(body).encode())
    with pytest.raises(Problem) as caught:
        compute(
            source,
            {"x": np.ones(3, np.float32), "limit": np.asarray(3, np.float32)},
            {},
            kind="gradients",
            loss=b"\n\x00",
            selection=Selection(inputs=("limit",), without_parameters=True),
            shared=("limit", "x"),
        )
    assert caught.value.reason is Reason.NOT_DIFFERENTIABLE


def test_an_initializer_that_decides_shapes_is_no_parameter() -> None:
    body = """(float[N] x) => (float[M] y) <float zero={0}, float three={3}, float one={1}> {
        r = Range(zero, three, one) y = Mul(x, r)
    }"""
    assert load(body).own_weights == {}


def test_shapes_are_folded_from_the_input_to_the_reshape() -> None:
    body = """(float[N,C,H,W] x) => (float[N,K] y) <int64[1] minus={-1}, int64 zero={0}> {
        s = Shape(x)  n = Gather(s, zero)  u = Unsqueeze(n, ax)  t = Concat <axis = 0> (u, minus)  y = Reshape(x, t)
    }""".replace("<int64[1] minus", "<int64[1] ax={0}, int64[1] minus")
    assert load(body).static_inputs == ()
    assert forward(body, {"x": np.zeros((2, 3, 4, 5), np.float32)})["y"].shape == (2, 60)


def test_shapes_are_folded_with_names_for_sizes() -> None:
    body = """(float[N,C] x) => (float[M] y) {s = Shape(x) n = Size(x) o = Constant <value_ints = [1]> ()
        m = Reshape(n, o) y = Reshape(x, m)}"""
    network = load(body)
    signature = network.signature(network.symbolic_inputs(), np.float32)
    assert str(signature.outputs["y"].shape) == "(C*N,)"


def test_names_of_sizes_can_be_any_text() -> None:
    network = load("(float[N] x) => (float[N] y) {y = Relu(x)}")
    network.inputs = (type(network.inputs[0])("x", "float32", ("past length + 1", "max", "past_length___1")),)
    shape = network.symbolic_inputs()["x"].shape
    assert len({str(one) for one in shape}) == 3


def test_values_needed_are_asked_for_only_once_the_batch_is_right() -> None:
    body = "(float[N] x, int64[2] s) => (float[A,B] y) {y = Reshape(x, s)}"
    with pytest.raises(Problem) as caught:
        forward(body, {"x": np.zeros(6, np.float32)})
    assert caught.value.reason is Reason.MISSING_TENSOR
    network = load(body)
    with pytest.raises(ValuesNeeded):
        network.signature(network.symbolic_inputs(), np.float32)


def test_fresh_weights_are_the_models_own() -> None:
    import safetensors.numpy

    found = safetensors.numpy.load(EXECUTOR.initialize(NetworkSource("onnx", serialized(LINEAR)), 3))
    np.testing.assert_array_equal(found["w"], W)


def test_weights_drawn_from_a_seed_are_refused() -> None:
    from gradserve_server.common.specs import ArraySpec, ProgramSpec

    spec = ProgramSpec(
        kind="forward",
        network=NetworkSource("onnx", serialized(LINEAR)),
        loss=b"",
        batch=(ArraySpec("x", "float32", (2, 3)),),
        weights=None,
    )
    with pytest.raises(Problem, match="fresh weights"):
        EXECUTOR.prepare(spec)


INTEGERS = """(float[3] x, int32[3] i) => (float[3] y, int32[3] j, bool[3] less) {
    f = Cast <to = 1> (i) y = Mul(x, f) j = Add(i, i) less = Less(x, f)
}"""
INTEGER_BATCH = {"x": np.ones(3, np.float32), "i": np.arange(3, dtype=np.int32)}


def asked(prediction: str, **selection: Any) -> dict[str, Any]:
    loss = loss_pb2.Loss(output=loss_pb2.Loss.Output(prediction=prediction), reduction=loss_pb2.Loss.REDUCTION_SUM)
    return compute(
        NetworkSource("onnx_text", model(INTEGERS).encode()),
        INTEGER_BATCH,
        {},
        kind="gradients",
        loss=loss.SerializeToString(),
        selection=Selection(**selection, without_parameters=True),
        shared=("i", "x"),
    )


def test_integers_beside_a_floating_point_input_count_as_constant() -> None:
    assert asked("y", inputs=("x",))["input_gradient"]["x"].tolist() == [0, 1, 2]


def test_the_gradient_of_an_integer_input_is_refused_by_name() -> None:
    with pytest.raises(Problem) as caught:
        asked("y", inputs=("i",))
    assert caught.value.reason is Reason.NOT_DIFFERENTIABLE
    assert "'i'" in str(caught.value)
    assert caught.value.metadata["given"] == "int32[3]"


@pytest.mark.parametrize("output", ["j", "less"])
def test_the_gradient_of_an_integer_or_a_comparison_is_refused(output: str) -> None:
    with pytest.raises(Problem) as caught:
        asked(output, inputs=("x",))
    assert caught.value.metadata["field"].startswith("loss")
    assert ("int32" if output == "j" else "bool") in str(caught.value)

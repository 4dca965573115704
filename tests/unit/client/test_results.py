"""Answers become results."""

import numpy as np
import pytest
from google.protobuf.duration_pb2 import Duration

import gradserve as gs
from gradserve import results
from gradserve.tensors import to_tensor
from gradserve.v1 import gradient_service_pb2 as service_pb2
from gradserve.v1 import tensor_pb2
from gradserve.weights import to_safetensors


def test_gradients():
    answer = service_pb2.ComputeGradientsResponse(
        loss=0.25,
        tensors=service_pb2.NamedTensors(by_name={"b": to_tensor(np.ones(2), ""), "a": to_tensor(np.float32(3), "")}),
        input_gradients={"x": to_tensor(np.zeros((1, 2)), "")},
        summary=service_pb2.GradientSummary(global_norm=5.0, norms={"b": 4.0, "a": 3.0}, finite=True),
        outputs={"p": to_tensor([1, 2], "")},
        updated_statistics={"n/mean": to_tensor(np.float32([1]), "")},
        weight_sum=8.0,
        timing=service_pb2.Timing(queue=Duration(nanos=500_000_000), execute=Duration(seconds=2, nanos=1)),
        terms={"t": 0.5},
    )
    result = results.read_gradients(answer.SerializeToString())
    assert result.loss == 0.25
    assert list(result.gradients) == ["a", "b"]
    assert (result.gradients["a"].shape, result.gradients["b"].tolist()) == ((), [1.0, 1.0])
    assert result.input_gradients["x"].shape == (1, 2)
    assert result.outputs["p"].tolist() == [1, 2]
    assert result.updated_statistics["n/mean"].dtype == np.float32
    assert result.summary == gs.GradientSummary(5.0, {"a": 3.0, "b": 4.0}, True)
    assert (result.weight_sum, result.terms) == (8.0, {"t": 0.5})
    assert result.timing == gs.Timing(queue=0.5, compile=0.0, execute=2.000000001)
    assert result.safetensors == b""


def test_gradients_as_a_file_are_arrays_as_well():
    content = to_safetensors({"w": np.arange(3.0)})
    answer = service_pb2.ComputeGradientsResponse(safetensors=content)
    result = results.read_gradients(answer.SerializeToString())
    assert result.safetensors == content
    assert result.gradients["w"].tolist() == [0, 1, 2]


def test_a_loss_of_zero_is_not_no_loss():
    outputs = {"p": to_tensor(np.ones(1), "")}
    with_loss = service_pb2.ForwardResponse(outputs=outputs, loss=0.0)
    assert results.read_forward(with_loss.SerializeToString()).loss == 0.0
    without = service_pb2.ForwardResponse(outputs=outputs)
    assert results.read_forward(without.SerializeToString()).loss is None


def test_a_description():
    spec = tensor_pb2.TensorSpec(
        name="x",
        data_type=tensor_pb2.DATA_TYPE_FLOAT32,
        shape=[tensor_pb2.Dimension(symbol="batch"), tensor_pb2.Dimension(size=3)],
    )
    answer = service_pb2.DescribeNetworkResponse(
        digest=tensor_pb2.Digest(hash="ab", size_bytes=3),
        inputs=[spec],
        parameters=[spec],
        parameter_count=12,
        flops=10**12,
        memory=[service_pb2.MemoryPlan(checkpointing=1, peak_bytes=2**40, fits=True)],
    )
    description = results.read_description(answer.SerializeToString())
    assert description.inputs == (gs.TensorInfo("x", np.dtype("float32"), ("batch", 3)),)
    assert description.outputs == ()
    assert (description.parameter_count, description.flops) == (12, 10**12)
    assert description.memory == (gs.MemoryPlan("off", 2**40, True),)
    assert description.digest == "ab"


def test_fresh_weights_are_writable():
    answer = service_pb2.InitializeWeightsResponse(safetensors=to_safetensors({"w": np.ones(2)}))
    weights = results.read_weights(answer.SerializeToString())
    weights["w"] += 1
    assert weights["w"].tolist() == [2, 2]


def test_server_info():
    answer = service_pb2.GetServerInfoResponse(
        version="1", platform="cpu", devices=["d"], limits={"b": 1, "a": 2}, operations=["dense"]
    )
    info = results.read_server_info(answer.SerializeToString())
    assert (info.version, info.platform, info.devices) == ("1", "cpu", ("d",))
    assert list(info.limits.items()) == [("a", 2), ("b", 1)]
    assert info.operations == ("dense",)


@pytest.mark.parametrize(
    "read",
    [
        results.read_gradients,
        results.read_forward,
        results.read_description,
        results.read_weights,
        results.read_server_info,
    ],
)
def test_what_is_no_answer_is_the_server_s_fault(read):
    with pytest.raises(gs.ServerFault, match="Response"):
        read(b"\xff\xff\xff")


def test_results_are_frozen():
    result = results.read_forward(b"")
    with pytest.raises(AttributeError):
        result.loss = 1.0


def test_every_choice_of_checkpointing_has_a_name():
    kinds = service_pb2.ComputeOptions.Checkpointing
    assert set(results._CHECKPOINTINGS) == set(kinds.values())
    for number, name in results._CHECKPOINTINGS.items():
        assert kinds.Name(number) == f"CHECKPOINTING_{name.upper()}"

"""Answers to Trace become results."""

import math

import numpy as np
import pytest

import gradserve as gs
from gradserve import requests
from gradserve.tensors import to_tensor
from gradserve.traces import read_trace
from gradserve.v1 import gradient_service_pb2 as service_pb2
from gradserve.v1 import tensor_pb2

STATISTICS = service_pb2.TensorStatistics(
    data_type=tensor_pb2.DATA_TYPE_FLOAT32,
    shape=[2],
    mean=1.5,
    standard_deviation=0.5,
    minimum=1.0,
    maximum=2.0,
    norm=math.sqrt(5),
    root_mean_square=math.sqrt(2.5),
    zero_fraction=0.25,
    non_finite=3,
)


def answer() -> bytes:
    flow = service_pb2.GradientFlow(
        verdict=service_pb2.GradientFlow.VERDICT_VANISHING, factor_per_layer=0.25, places=["h"], advice=["Try relu."]
    )
    values = [
        service_pb2.TracedValue(name="x", operation="input", value=STATISTICS),
        service_pb2.TracedValue(
            name="h",
            operation="relu",
            inputs=["x"],
            value=STATISTICS,
            gradient=STATISTICS,
            value_tensor=to_tensor(np.float32([1, 2]), ""),
            gradient_tensor=to_tensor(np.float32([3, 4]), ""),
            chain_rule="dL/dh = 1",
        ),
    ]
    return service_pb2.TraceResponse(loss=0.5, values=values, flow=flow).SerializeToString()


def test_a_trace():
    result = read_trace(answer())
    assert result.loss == 0.5
    assert [value.name for value in result] == ["x", "h"]
    assert len(result) == 2
    x, h = result.values
    assert (x.gradient, x.value_tensor, x.gradient_tensor) == (None, None, None)
    assert (
        h.value
        == h.gradient
        == gs.TensorStatistics(np.dtype("float32"), (2,), 1.5, 0.5, 1.0, 2.0, math.sqrt(5), math.sqrt(2.5), 0.25, 3)
    )
    assert (h.inputs, h.operation, h.chain_rule) == (("x",), "relu", "dL/dh = 1")
    assert h.value_tensor is not None
    assert h.gradient_tensor is not None
    assert (h.value_tensor.tolist(), h.gradient_tensor.tolist()) == ([1, 2], [3, 4])
    assert result.flow == gs.GradientFlow("vanishing", 0.25, ("h",), ("Try relu.",))


def test_values_are_found_by_name():
    result = read_trace(answer())
    assert result["h"] is result.values[1]
    with pytest.raises(gs.InvalidRequest, match="'y'"):
        _ = result["y"]


def test_a_verdict_that_this_client_does_not_know_is_unspecified():
    content = service_pb2.TraceResponse(flow={"verdict": 99}).SerializeToString()
    assert read_trace(content).flow.verdict == "unspecified"


def test_the_request():
    net = gs.sequential(gs.dense(1), x=("batch", 2))
    batch = {"x": np.zeros((1, 2)), "y": np.zeros((1, 1))}
    call = requests.trace(
        net, gs.seeded(3), batch, loss=gs.squared_error(target="y"), whole_tensors_up_to=8, names=["dense_1/*"]
    )
    request = service_pb2.TraceRequest.FromString(call.message)
    assert call.method == "Trace"
    assert (request.whole_tensors_up_to, list(request.names), request.weights.seed) == (8, ["dense_1/*"], 3)
    assert request.loss.squared_error.target == "y"
    assert set(request.batch) == {"x", "y"}
    with pytest.raises(gs.InvalidRequest, match="whole_tensors_up_to"):
        requests.trace(net, None, batch, loss=gs.squared_error(target="y"), whole_tensors_up_to=-1)

"""ONNX models over a real socket, to a server whose front never reads them."""

from __future__ import annotations

from collections.abc import Iterator

import grpc
import numpy as np
import onnx.parser
import pytest

import gradserve as gs
from gradserve.v1 import gradient_service_pb2 as service
from gradserve.v1 import gradient_service_pb2_grpc as stubs
from gradserve.v1 import loss_pb2, network_pb2, tensor_pb2

TEXT = """<ir_version: 10, opset_import: ["" : 21]>
graph (float[N,3] x, int64[2] shape) => (float[A,B] y) <float[3,2] w = {1,2,3,4,5,6}> {
    h = MatMul(x, w)
    y = Reshape(h, shape)
}"""
X = np.arange(12, dtype=np.float32).reshape(4, 3)
W = np.arange(1, 7, dtype=np.float32).reshape(3, 2)


@pytest.fixture(scope="module")
def stub(client: gs.Client) -> Iterator[stubs.GradientServiceStub]:
    with grpc.insecure_channel(client.address) as channel:
        yield stubs.GradientServiceStub(channel)


def tensor(array: np.ndarray) -> tensor_pb2.Tensor:
    kind = tensor_pb2.DataType.Value(f"DATA_TYPE_{array.dtype.name.upper()}")
    return tensor_pb2.Tensor(data_type=kind, shape=array.shape, data=array.tobytes())


def request(shape: tuple[int, int], *, as_text: bool = True) -> service.ComputeGradientsRequest:
    network = (
        network_pb2.NetworkDefinition(onnx_text=TEXT)
        if as_text
        else network_pb2.NetworkDefinition(onnx=onnx.parser.parse_model(TEXT).SerializeToString())
    )
    return service.ComputeGradientsRequest(
        network=network,
        batch={"x": tensor(X), "shape": tensor(np.array(shape))},
        shared=["x", "shape"],
        loss=loss_pb2.Loss(output=loss_pb2.Loss.Output(), reduction=loss_pb2.Loss.REDUCTION_SUM),
        outputs=["y"],
    )


def array(message: tensor_pb2.Tensor) -> np.ndarray:
    return np.frombuffer(message.data, np.float32).reshape(message.shape)


@pytest.mark.parametrize("as_text", [True, False])
def test_gradients_of_the_models_own_weights(stub: stubs.GradientServiceStub, as_text: bool) -> None:
    for shape in ((2, 4), (4, 2), (2, 4)):
        answer = stub.ComputeGradients(request(shape, as_text=as_text))
        assert answer.loss == (X @ W).sum()
        assert tuple(answer.outputs["y"].shape) == shape
        np.testing.assert_array_equal(array(answer.tensors.by_name["w"]), np.repeat(X.sum(0)[:, None], 2, 1))


def test_a_repeated_request_is_answered_from_its_template_with_its_own_values(
    stub: stubs.GradientServiceStub,
) -> None:
    for shape in ((1, 8), (1, 8), (1, 8), (8, 1), (1, 8)):
        assert tuple(stub.ComputeGradients(request(shape)).outputs["y"].shape) == shape


def test_weights_that_are_sent_take_the_place_of_the_models_own(stub: stubs.GradientServiceStub) -> None:
    asked = request((2, 4))
    asked.weights.tensors.by_name["w"].CopyFrom(tensor(np.ones((3, 2), np.float32)))
    assert stub.ComputeGradients(asked).loss == 2 * X.sum()


def test_the_server_lists_its_operators(stub: stubs.GradientServiceStub) -> None:
    operators = stub.GetServerInfo(service.GetServerInfoRequest()).onnx_operators
    assert "ai.onnx:MatMul:13" in operators


def test_a_model_that_is_none_is_the_callers_error(stub: stubs.GradientServiceStub) -> None:
    asked = request((2, 4))
    asked.network.onnx = b"\xff\xff"
    with pytest.raises(grpc.RpcError) as caught:
        stub.ComputeGradients(asked)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_describe(stub: stubs.GradientServiceStub) -> None:
    text = TEXT.replace(", int64[2] shape", "").replace("<float", "<int64[2] shape = {-1, 1}, float")
    asked = service.DescribeNetworkRequest(network=network_pb2.NetworkDefinition(onnx_text=text))
    answer = stub.DescribeNetwork(asked)
    assert [one.name for one in answer.parameters] == ["w"]
    assert [one.symbol or one.size for one in answer.outputs[0].shape] == ["2*N", 1]

"""Bad input of every kind gets its own code, reason and field; afterwards the server still answers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import grpc
import numpy as np
import pytest
from google.protobuf.internal import encoder
from google.rpc import error_details_pb2
from grpc_status import rpc_status

import gradserve as gs
from gradserve.v1 import gradient_service_pb2 as service
from gradserve.v1 import loss_pb2, network_pb2, tensor_pb2

Request = service.ComputeGradientsRequest
Elementwise = network_pb2.Elementwise
Arithmetic = network_pb2.Arithmetic
Pooling = network_pb2.Pooling
METHOD = "/gradserve.v1.GradientService/ComputeGradients"


def tensor(array: object, dtype: str) -> tensor_pb2.Tensor:
    values = np.asarray(array, dtype)
    kind = tensor_pb2.DataType.Value(f"DATA_TYPE_{dtype.upper()}")
    return tensor_pb2.Tensor(data_type=kind, shape=values.shape, data=values.tobytes())


def node(name: str, *inputs: str, **operation: object) -> network_pb2.Node:
    return network_pb2.Node(name=name, inputs=inputs, **operation)  # type: ignore[arg-type]


def good() -> Request:
    """h = relu(x W + b), logits = h V + c, softmax cross-entropy with y."""
    request = Request()
    graph = request.network.graph
    dimensions = [tensor_pb2.Dimension(symbol="batch"), tensor_pb2.Dimension(size=4)]
    graph.inputs.add(name="x", data_type=tensor_pb2.DATA_TYPE_FLOAT32, shape=dimensions)
    graph.nodes.append(node("hidden", "x", dense=network_pb2.Dense(units=3)))
    graph.nodes.append(node("relu", "hidden", elementwise=Elementwise(function=Elementwise.FUNCTION_RELU)))
    graph.nodes.append(node("logits", "relu", dense=network_pb2.Dense(units=2)))
    for name, shape in (("hidden/kernel", (4, 3)), ("hidden/bias", 3), ("logits/kernel", (3, 2)), ("logits/bias", 2)):
        request.weights.tensors.by_name[name].CopyFrom(tensor(np.full(shape, 0.1), "float32"))
    request.batch["x"].CopyFrom(tensor(np.arange(8).reshape(2, 4), "float32"))
    request.batch["y"].CopyFrom(tensor([0, 1], "int32"))
    request.loss.softmax_cross_entropy.target = "y"
    return request


Mutation = Callable[[Request], object]
Row = tuple[str, Mutation, str, str, str]
BAD = "INVALID_ARGUMENT"
NOTHING = tensor_pb2.Digest(hash="0" * 64, size_bytes=1)


def seeded(change: Callable[[network_pb2.Graph], object]) -> Mutation:
    """Changes the graph, and draws the weights so that only the graph is at fault."""

    def mutate(request: Request) -> None:
        request.weights.seed = 0
        change(request.network.graph)

    return mutate


def add(*nodes: network_pb2.Node) -> Mutation:
    """Nodes after `relu`, in place of `logits`."""

    def change(graph: network_pb2.Graph) -> None:
        del graph.nodes[2:]
        graph.nodes.extend(nodes)

    return seeded(change)


def nested(depth: int) -> network_pb2.Node:
    """A block in a block in a block."""
    inner = node("n", "x", elementwise=Elementwise(function=Elementwise.FUNCTION_TANH))
    for _ in range(depth):
        body = network_pb2.Graph(inputs=[tensor_pb2.TensorSpec(name="x")], nodes=[inner])
        inner = node("n", "x", block=network_pb2.Block(body=body))
    inner.name = "logits"
    inner.inputs[0] = "relu"
    return inner


def elementwise(function: int, **fields: float) -> network_pb2.Node:
    return node("logits", "relu", elementwise=Elementwise(function=function, **fields))  # type: ignore[arg-type]


def repeat(units: int, times: int = 2) -> network_pb2.Node:
    inner = node("d", "x", dense=network_pb2.Dense(units=units))
    body = network_pb2.Graph(inputs=[tensor_pb2.TensorSpec(name="x")], nodes=[inner])
    return node("logits", "relu", block=network_pb2.Block(body=body, repeat=times))


def custom(graph: network_pb2.Graph) -> Mutation:
    def mutate(request: Request) -> None:
        del request.batch["y"]
        request.loss.CopyFrom(loss_pb2.Loss(custom=loss_pb2.Loss.Custom(graph=graph)))

    return mutate


def retarget(formula: str, target: object, dtype: str, **fields: float) -> Mutation:
    """Another formula, and a target for the logits [2, 2]."""

    def mutate(request: Request) -> None:
        request.batch["y"].CopyFrom(tensor(target, dtype))
        request.loss.CopyFrom(loss_pb2.Loss(**{formula: {"target": "y", **fields}}))  # type: ignore[arg-type]

    return mutate


def cotangents(dtype: str = "float32", *, stacked: bool = False, reduction: int = 0, **by_output: object) -> Mutation:
    def mutate(request: Request) -> None:
        del request.batch["y"]
        tensors = {name: tensor(array, dtype) for name, array in by_output.items()}
        formula = loss_pb2.Loss.Cotangents(by_output=tensors, stacked=stacked)
        request.loss.CopyFrom(loss_pb2.Loss(cotangents=formula, reduction=reduction))  # type: ignore[arg-type]

    return mutate


def stack() -> loss_pb2.Loss:
    formula = loss_pb2.Loss.Cotangents(by_output={"logits": tensor(np.ones((1, 2, 2)), "float32")}, stacked=True)
    return loss_pb2.Loss(cotangents=formula)


def unknown_field(message: object, number: int = 999) -> None:
    """Adds a field that no version of the contract has."""
    message.MergeFromString(encoder.TagBytes(number, 0) + b"\x01")  # type: ignore[attr-defined]


def window(request: Request, **fields: object) -> None:
    add(node("logits", "relu", pooling=Pooling(function=Pooling.FUNCTION_MAX, window=network_pb2.Window(**fields))))(  # type: ignore[arg-type]
        request
    )


ROWS: list[Row] = [
    # The request.
    ("no network", lambda r: r.ClearField("network"), BAD, "MISSING_FIELD", "network"),
    ("no weights", lambda r: r.ClearField("weights"), BAD, "MISSING_FIELD", "weights"),
    ("no loss", lambda r: r.ClearField("loss"), BAD, "MISSING_FIELD", "loss"),
    ("no batch", lambda r: r.ClearField("batch"), BAD, "EMPTY_BATCH", "batch"),
    ("unknown field of the request", unknown_field, "UNIMPLEMENTED", "UNKNOWN_FIELD", ""),
    ("unknown field of the graph", lambda r: unknown_field(r.network.graph), "UNIMPLEMENTED", "UNKNOWN_FIELD", "network"),
    ("unknown oneof of a node", lambda r: unknown_field(r.network.graph.nodes[0], 99), "UNIMPLEMENTED", "UNKNOWN_FIELD", "nodes[0]"),
    ("unknown field of the loss", lambda r: unknown_field(r.loss.softmax_cross_entropy), "UNIMPLEMENTED", "UNKNOWN_FIELD", "loss"),
    ("unknown field of a tensor", lambda r: unknown_field(r.batch["x"]), "UNIMPLEMENTED", "UNKNOWN_FIELD", "batch.x"),
    ("unknown field of the options", lambda r: unknown_field(r.options), "UNIMPLEMENTED", "UNKNOWN_FIELD", "options"),
    ("unknown field of the selection", lambda r: unknown_field(r.gradients), "UNIMPLEMENTED", "UNKNOWN_FIELD", "gradients"),
    ("unknown value of an enum", add(elementwise(999)), "UNIMPLEMENTED", "UNKNOWN_FIELD", "function"),
    ("unknown reduction", lambda r: setattr(r.loss, "reduction", 9), "UNIMPLEMENTED", "UNKNOWN_FIELD", "loss.reduction"),
    ("unknown mode", lambda r: setattr(r.options, "mode", 9), "UNIMPLEMENTED", "UNKNOWN_FIELD", "options.mode"),
    # Tensors.
    ("no element type", lambda r: setattr(r.batch["x"], "data_type", 0), BAD, "INVALID_TENSOR", "batch.x"),
    ("unknown element type", lambda r: setattr(r.batch["x"], "data_type", 77), "UNIMPLEMENTED", "UNKNOWN_FIELD", "batch.x"),
    ("too few bytes", lambda r: setattr(r.batch["x"], "data", b"123"), BAD, "INVALID_TENSOR", "batch.x"),
    ("too many bytes", lambda r: setattr(r.batch["x"], "data", bytes(64)), BAD, "INVALID_TENSOR", "batch.x"),
    ("no content", lambda r: r.batch["x"].ClearField("data"), BAD, "INVALID_TENSOR", "batch.x"),
    ("negative size", lambda r: r.batch["x"].shape.__setitem__(0, -2), BAD, "INVALID_TENSOR", "batch.x"),
    ("sizes that overflow", lambda r: r.batch["x"].shape.extend([2**62, 2**62]), BAD, "INVALID_TENSOR", "batch.x"),
    ("numbers that do not fit the shape", lambda r: r.batch["x"].values.number.extend([1, 2]), BAD, "INVALID_TENSOR", "batch.x"),
    ("a class that is no integer", lambda r: r.batch["y"].values.number.extend([0.5, 1]), BAD, "INVALID_TENSOR", "batch.y"),
    ("a class that is not a number", lambda r: r.batch["y"].values.number.extend([math.nan, 1]), BAD, "INVALID_TENSOR", "batch.y"),
    ("weights of integers", lambda r: r.weights.tensors.by_name["hidden/bias"].CopyFrom(tensor([1, 2, 3], "int32")), BAD, "DTYPE_MISMATCH", "hidden/bias"),
    ("no safetensors", lambda r: setattr(r.weights, "safetensors", b"nonsense"), BAD, "INVALID_TENSOR", "weights.safetensors"),
    # Batch and weights against the network.
    ("input missing", lambda r: r.batch.pop("x"), BAD, "MISSING_TENSOR", "batch.x"),
    ("target missing", lambda r: r.batch.pop("y"), BAD, "MISSING_TENSOR", "batch.y"),
    ("tensor that nobody takes", lambda r: r.batch["z"].CopyFrom(r.batch["x"]), BAD, "UNKNOWN_NAME", "batch.z"),
    ("input of another type", lambda r: r.batch["x"].CopyFrom(tensor(np.ones((2, 4)), "float64")), BAD, "DTYPE_MISMATCH", "batch.x"),
    ("input of another rank", lambda r: r.batch["x"].CopyFrom(tensor(np.ones((2, 2, 2)), "float32")), BAD, "SHAPE_MISMATCH", "batch.x"),
    ("input of another size", lambda r: r.batch["x"].CopyFrom(tensor(np.ones((2, 5)), "float32")), BAD, "SHAPE_MISMATCH", "batch.x"),
    ("examples differ", lambda r: r.batch["y"].CopyFrom(tensor([0, 1, 0], "int32")), BAD, "BATCH_SIZE_MISMATCH", "batch"),
    ("empty batch", lambda r: (r.batch["x"].CopyFrom(tensor(np.ones((0, 4)), "float32")), r.batch["y"].CopyFrom(tensor([], "int32"))), BAD, "EMPTY_BATCH", "batch"),
    ("scalar in the batch", lambda r: r.batch["y"].CopyFrom(tensor(1, "int32")), BAD, "SHAPE_MISMATCH", "batch.y"),
    ("shared tensor that is not there", lambda r: r.shared.append("zz"), BAD, "UNKNOWN_NAME", "shared"),
    ("weight missing", lambda r: r.weights.tensors.by_name.pop("hidden/bias"), BAD, "MISSING_TENSOR", "hidden/bias"),
    ("weight not known", lambda r: r.weights.tensors.by_name["hiden/bias"].CopyFrom(tensor(1, "float32")), BAD, "UNKNOWN_NAME", "hiden/bias"),
    ("weight of another shape", lambda r: r.weights.tensors.by_name["hidden/bias"].CopyFrom(tensor([1, 2], "float32")), BAD, "SHAPE_MISMATCH", "hidden/bias"),
    ("class too large", lambda r: r.batch["y"].CopyFrom(tensor([0, 2], "int32")), BAD, "INDEX_OUT_OF_RANGE", "batch.y"),
    ("class negative", lambda r: r.batch["y"].CopyFrom(tensor([0, -1], "int32")), BAD, "INDEX_OUT_OF_RANGE", "batch.y"),
    ("output not known", lambda r: r.outputs.append("logit"), BAD, "UNKNOWN_NAME", "outputs[0]"),
    # Selection and options.
    ("pattern that fits nothing", lambda r: r.gradients.parameters.append("hiden/*"), BAD, "INVALID_PATTERN", "gradients.parameters[0]"),
    ("exclusion of nothing", lambda r: r.gradients.parameters.append("!hidden/*"), BAD, "INVALID_PATTERN", "gradients.parameters[0]"),
    ("gradient of no input", lambda r: r.gradients.inputs.append("z"), BAD, "UNKNOWN_NAME", "gradients.inputs[0]"),
    ("no parameters and no inputs", lambda r: setattr(r.gradients, "without_parameters", True), BAD, "MISSING_FIELD", "gradients.inputs"),
    ("negative norm", lambda r: setattr(r.gradients, "clip_global_norm", -1.0), BAD, "INVALID_VALUE", "clip_global_norm"),
    ("norm that is not a number", lambda r: setattr(r.gradients, "clip_global_norm", math.nan), BAD, "INVALID_VALUE", "clip_global_norm"),
    ("gradients as integers", lambda r: setattr(r.gradients, "data_type", tensor_pb2.DATA_TYPE_INT32), BAD, "INVALID_VALUE", "gradients.data_type"),
    # The graph.
    ("no nodes", seeded(lambda g: g.ClearField("nodes")), BAD, "INVALID_NETWORK", "nodes"),
    ("bytes that are no graph", lambda r: setattr(r.network, "serialized_graph", b"\xff\xff\xff"), BAD, "MALFORMED_NETWORK", "network"),
    ("truncated graph", lambda r: setattr(r.network, "serialized_graph", r.network.graph.SerializeToString()[:-3]), BAD, "MALFORMED_NETWORK", "network"),
    ("duplicate node", seeded(lambda g: setattr(g.nodes[1], "name", "hidden")), BAD, "DUPLICATE_NAME", "nodes[1].name"),
    ("node named as an input", seeded(lambda g: setattr(g.nodes[0], "name", "x")), BAD, "DUPLICATE_NAME", "nodes[0].name"),
    ("node without a name", seeded(lambda g: setattr(g.nodes[0], "name", "")), BAD, "INVALID_VALUE", "nodes[0].name"),
    ("node with a slash", seeded(lambda g: setattr(g.nodes[2], "name", "a/b")), BAD, "INVALID_VALUE", "nodes[2].name"),
    ("node without operation", seeded(lambda g: g.nodes[0].ClearField("dense")), BAD, "UNKNOWN_OPERATION", "nodes[0]"),
    ("forward reference", seeded(lambda g: g.nodes[0].inputs.__setitem__(0, "relu")), BAD, "UNKNOWN_REFERENCE", "nodes[0].inputs[0]"),
    ("reference to nothing", seeded(lambda g: g.nodes[1].inputs.__setitem__(0, "hiden")), BAD, "UNKNOWN_REFERENCE", "nodes[1].inputs[0]"),
    ("reference to no parameter", seeded(lambda g: g.nodes[1].inputs.__setitem__(0, "hidden/kernl")), BAD, "UNKNOWN_REFERENCE", "nodes[1].inputs[0]"),
    ("output that is no node", seeded(lambda g: g.outputs.append("nothing")), BAD, "UNKNOWN_REFERENCE", "outputs[0]"),
    ("output named twice", seeded(lambda g: g.outputs.extend(["logits", "logits"])), BAD, "DUPLICATE_NAME", "outputs[1]"),
    ("input without a type", seeded(lambda g: g.inputs[0].ClearField("data_type")), BAD, "MISSING_FIELD", "inputs[0].data_type"),
    ("input of size zero", seeded(lambda g: setattr(g.inputs[0].shape[1], "size", 0)), BAD, "INVALID_VALUE", "shape[1].size"),
    ("dimension without extent", seeded(lambda g: g.inputs[0].shape.add()), BAD, "MISSING_FIELD", "shape[2]"),
    ("dimension with an odd name", seeded(lambda g: setattr(g.inputs[0].shape[0], "symbol", "a b")), BAD, "INVALID_VALUE", "shape[0].symbol"),
    ("17 nested blocks", add(nested(17)), BAD, "TOO_DEEP", "network"),
    ("units of zero", seeded(lambda g: setattr(g.nodes[0].dense, "units", 0)), BAD, "INVALID_NODE", "dense.units"),
    ("units that overflow", seeded(lambda g: setattr(g.nodes[0].dense, "units", 2**62)), "RESOURCE_EXHAUSTED", "TOO_LARGE", "nodes[0]"),
    ("too many inputs", seeded(lambda g: g.nodes[0].inputs.append("x")), BAD, "INVALID_NODE", "nodes[0].inputs"),
    ("function not set", add(elementwise(0)), BAD, "MISSING_FIELD", "function"),
    ("alpha that is not a number", add(elementwise(Elementwise.FUNCTION_ELU, alpha=math.nan)), BAD, "INVALID_NODE", "alpha"),
    ("alpha where there is none", add(elementwise(Elementwise.FUNCTION_TANH, alpha=1.0)), BAD, "INVALID_NODE", "alpha"),
    ("axis that is not there", add(elementwise(Elementwise.FUNCTION_SOFTMAX, axis=5)), BAD, "INVALID_NODE", "axis"),
    ("shapes that do not broadcast", add(node("logits", "x", "relu", arithmetic=Arithmetic(function=Arithmetic.FUNCTION_ADD))), BAD, "INVALID_NODE", "arithmetic"),
    ("subtraction of one", add(node("logits", "relu", arithmetic=Arithmetic(function=Arithmetic.FUNCTION_SUBTRACT))), BAD, "INVALID_NODE", "inputs"),
    ("constant that is not a number", add(node("logits", constant=network_pb2.Constant(number=math.inf))), BAD, "INVALID_NODE", "number"),
    ("repeated block of another shape", add(repeat(7)), BAD, "INVALID_NODE", "block"),
    ("repeated no times", add(repeat(3, 0)), BAD, "INVALID_VALUE", "repeat"),
    ("reshape that does not fit", add(node("logits", "relu", reshape=network_pb2.Reshape(shape=[0, 7]))), BAD, "INVALID_NODE", "reshape"),
    ("axis of a reduction", add(node("logits", "relu", reduce=network_pb2.Reduce(function=1, axes=[9]))), BAD, "INVALID_NODE", "axes"),
    ("concatenation without axis", add(node("logits", "relu", "x", concatenate=network_pb2.Concatenate())), BAD, "", "axis"),
    ("rate of one", add(node("logits", "relu", dropout=network_pb2.Dropout(rate=1.0))), BAD, "INVALID_NODE", "rate"),
    ("pooling without space", lambda r: window(r, size=[2, 2]), BAD, "INVALID_NODE", "pooling"),
    ("mode not chosen", add(node("logits", "relu", dropout=network_pb2.Dropout(rate=0.5))), BAD, "MODE_REQUIRED", "options.mode"),
    ("indices that are no integers", add(node("logits", "relu", embedding=network_pb2.Embedding(rows=3, features=2))), BAD, "INVALID_NODE", "embedding"),
    # The loss.
    ("formula not set", lambda r: r.loss.Clear() or setattr(r.loss, "reduction", 1), BAD, "MISSING_FIELD", "loss"),
    ("prediction not known", lambda r: setattr(r.loss.softmax_cross_entropy, "prediction", "z"), BAD, "UNKNOWN_NAME", "prediction"),
    ("target not named", lambda r: setattr(r.loss.softmax_cross_entropy, "target", ""), BAD, "MISSING_FIELD", "target"),
    ("smoothing of two", lambda r: setattr(r.loss.softmax_cross_entropy, "label_smoothing", 2.0), BAD, "INVALID_VALUE", "label_smoothing"),
    ("target that would broadcast", lambda r: (setattr(r.loss.squared_error, "target", "y"), r.batch["y"].CopyFrom(tensor(np.ones((2, 1)), "float32"))), BAD, "SHAPE_MISMATCH", "batch.y"),
    ("delta below zero", retarget("huber", [[1, 2]] * 2, "float32", delta=-1.0), BAD, "INVALID_VALUE", "loss.huber.delta"),
    ("delta that is not a number", retarget("huber", [[1, 2]] * 2, "float32", delta=math.nan), BAD, "INVALID_VALUE", "loss.huber.delta"),
    ("a distance from classes", retarget("huber", [1, 0], "int32"), BAD, "SHAPE_MISMATCH", "batch.y"),
    ("a distance from integers", retarget("huber", [[1, 0]] * 2, "int32"), BAD, "DTYPE_MISMATCH", "batch.y"),
    ("divergence from classes", retarget("kullback_leibler", [1, 0], "int32"), BAD, "SHAPE_MISMATCH", "batch.y"),
    ("divergence that would broadcast", retarget("kullback_leibler", [[0.5], [0.5]], "float32"), BAD, "SHAPE_MISMATCH", "batch.y"),
    ("tokens without positions", lambda r: setattr(r.loss.next_token, "tokens", "y"), BAD, "SHAPE_MISMATCH", "loss.next_token.prediction"),
    ("tokens not named", lambda r: r.loss.next_token.SetInParent(), BAD, "MISSING_FIELD", "loss.next_token.tokens"),
    ("no cotangents", lambda r: r.loss.cotangents.SetInParent(), BAD, "MISSING_FIELD", "loss.cotangents.by_output"),
    ("cotangent of no output", cotangents(logit=np.ones((2, 2))), BAD, "UNKNOWN_NAME", "loss.cotangents.by_output.logit"),
    ("cotangent of another shape", cotangents(logits=np.ones(2)), BAD, "SHAPE_MISMATCH", "loss.cotangents.by_output.logits"),
    ("cotangent of one example for all", cotangents(logits=np.ones((1, 2))), BAD, "SHAPE_MISMATCH", "loss.cotangents.by_output.logits"),
    ("cotangent of integers", cotangents("int32", logits=np.ones((2, 2))), BAD, "DTYPE_MISMATCH", "loss.cotangents.by_output.logits"),
    ("cotangent without elements", lambda r: r.loss.cotangents.by_output["logits"].SetInParent(), BAD, "INVALID_TENSOR", "loss.cotangents.by_output.logits"),
    ("cotangent with an unknown field", lambda r: unknown_field(r.loss.cotangents.by_output["logits"]), "UNIMPLEMENTED", "UNKNOWN_FIELD", "loss.cotangents.by_output.logits"),
    ("cotangents with a reduction", cotangents(logits=np.ones((2, 2)), reduction=2), BAD, "INVALID_LOSS", "loss.reduction"),
    ("a stack without vectors", cotangents(stacked=True, logits=np.ones((0, 2, 2))), BAD, "SHAPE_MISMATCH", "loss.cotangents.by_output.logits"),
    ("a stack that is none", cotangents(stacked=True, logits=np.ones((2, 2))), BAD, "SHAPE_MISMATCH", "loss.cotangents.by_output.logits"),
    ("a stack to clip", lambda r: (cotangents(stacked=True, logits=np.ones((1, 2, 2)))(r), setattr(r.gradients, "clip_global_norm", 1.0)), "UNIMPLEMENTED", "UNSUPPORTED_OPTION", "gradients.clip_global_norm"),
    ("a stack in a sum", lambda r: r.loss.sum.terms.add(name="a").loss.CopyFrom(stack()), BAD, "INVALID_LOSS", "terms[0].loss.cotangents.stacked"),
    ("weight of a term that is not a number", lambda r: setattr(r.loss.sum.terms.add(name="a"), "weight", math.nan), BAD, "INVALID_VALUE", "terms[0].weight"),
    ("sum without terms", lambda r: r.loss.sum.SetInParent(), BAD, "MISSING_FIELD", "terms"),
    ("sum of sums", lambda r: r.loss.sum.terms.add(name="a").loss.sum.terms.add(name="b"), BAD, "INVALID_LOSS", "terms[0]"),
    ("loss with parameters", custom(network_pb2.Graph(inputs=[tensor_pb2.TensorSpec(name="logits")], nodes=[node("d", "logits", dense=network_pb2.Dense(units=1))])), BAD, "INVALID_LOSS", "loss.custom"),
    ("loss that takes what is not there", custom(network_pb2.Graph(inputs=[tensor_pb2.TensorSpec(name="nothing")], nodes=[elementwise(1)])), BAD, "", "loss.custom"),
    ("weights that do not fit", lambda r: (setattr(r.loss, "example_weights", "w"), r.batch["w"].CopyFrom(tensor(np.ones((2, 3)), "float32"))), BAD, "SHAPE_MISMATCH", "batch.w"),
    # What is not served yet is named.
    ("ONNX", lambda r: setattr(r.network, "onnx", b"x"), BAD, "MALFORMED_NETWORK", "network.onnx"),
    ("gradients by example to clip as one", lambda r: r.gradients.MergeFrom(service.GradientSelection(per_example=True, clip_global_norm=1.0)), BAD, "INVALID_VALUE", "gradients.clip_global_norm"),
    ("a norm of examples that is none", lambda r: setattr(r.gradients, "clip_example_norm", math.nan), BAD, "INVALID_VALUE", "gradients.clip_example_norm"),
    ("gradients by example of a stack", lambda r: (cotangents(stacked=True, logits=np.ones((1, 2, 2)))(r), setattr(r.gradients, "per_example", True)), "UNIMPLEMENTED", "UNSUPPORTED_OPTION", "gradients.per_example"),
    ("weights by no digest", lambda r: r.weights.digest.SetInParent(), BAD, "INVALID_VALUE", "weights.digest"),
    ("weights by a digest of nothing", lambda r: r.weights.digest.CopyFrom(NOTHING), "FAILED_PRECONDITION", "MISSING_CONTENT", "weights.digest"),
    ("a network by digest", lambda r: r.network.digest.CopyFrom(NOTHING), BAD, "MISSING_FIELD", "network.digest_format"),
    ("fresh weights to keep", lambda r: (setattr(r.weights, "seed", 1), setattr(r.weights, "keep", True)), BAD, "INVALID_VALUE", "weights.keep"),
    ("loss scale without float16", lambda r: setattr(r.options, "loss_scale", 8.0), BAD, "INVALID_VALUE", "options.loss_scale"),
    ("loss scale that is none", lambda r: r.options.MergeFrom(service.ComputeOptions(precision=2, loss_scale=-1.0)), BAD, "INVALID_VALUE", "options.loss_scale"),
]  # fmt: skip


@pytest.fixture(scope="module")
def call(client: gs.Client) -> Iterator[Callable[[bytes], bytes]]:
    with grpc.insecure_channel(client.address) as channel:
        yield channel.unary_unary(METHOD)


def failure(call: Callable[[bytes], bytes], request: bytes) -> tuple[str, error_details_pb2.ErrorInfo]:
    with pytest.raises(grpc.RpcError) as caught:
        call(request)
    error = caught.value
    status = rpc_status.from_call(error)  # type: ignore[arg-type]
    assert status is not None, error
    infos = [detail for detail in status.details if detail.Is(error_details_pb2.ErrorInfo.DESCRIPTOR)]
    assert len(infos) == 1
    info = error_details_pb2.ErrorInfo()
    infos[0].Unpack(info)
    assert info.domain == "gradserve"
    return error.code().name, info  # type: ignore[attr-defined]


def test_the_request_that_all_others_are_made_from_is_answered(call: Callable[[bytes], bytes]) -> None:
    answer = service.ComputeGradientsResponse.FromString(call(good().SerializeToString()))
    assert math.isfinite(answer.loss)
    assert set(answer.tensors.by_name) == {"hidden/kernel", "hidden/bias", "logits/kernel", "logits/bias"}


@pytest.mark.parametrize(("mutate", "code", "reason", "field"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_bad_input_is_refused_with_its_place(
    call: Callable[[bytes], bytes], mutate: Mutation, code: str, reason: str, field: str
) -> None:
    request = good()
    mutate(request)
    given, info = failure(call, request.SerializeToString())
    assert given == code, info
    if reason:
        assert info.reason == reason, info
    assert field in info.metadata.get("field", ""), info


@pytest.mark.parametrize("content", [b"\xff", b"\x0a\x05abc", good().SerializeToString()[:-5]])
def test_bytes_that_are_no_message_are_the_callers_error(call: Callable[[bytes], bytes], content: bytes) -> None:
    code, info = failure(call, content)
    assert (code, info.reason) == (BAD, "MALFORMED_REQUEST")


def test_there_are_at_least_sixty_kinds_and_the_server_still_answers(call: Callable[[bytes], bytes]) -> None:
    assert len(ROWS) >= 60
    assert service.ComputeGradientsResponse.FromString(call(good().SerializeToString())).summary.finite

"""What is no model, too large, or not served: each is refused with its reason, before anything is built."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest

from gradserve_server.common.errors import Problem, Reason
from gradserve_server.common.specs import Limits
from gradserve_server.compute.frontends.onnx import load_network
from tests.unit.compute.onnx.models import forward, load, model, serialized

GOOD = "(float[N] x) => (float[N] y) <float[2] w={1,2}> {y = Mul(x, w)}"


def refused(content: bytes, limits: Limits = Limits(), *, is_text: bool = False) -> Problem:  # noqa: B008
    with pytest.raises(Problem) as caught:
        load_network(content, limits, is_text=is_text)
    return caught.value


def changed(change: Callable[[onnx.ModelProto], object]) -> bytes:
    message = onnx.ModelProto.FromString(serialized(GOOD))
    change(message)
    return message.SerializeToString()


def external(message: onnx.ModelProto) -> None:
    tensor = message.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.ClearField("float_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")


def sparse(message: onnx.ModelProto) -> None:
    message.graph.sparse_initializer.add().values.name = "s"


@pytest.mark.parametrize(
    ("change", "reason", "words"),
    [
        (lambda m: m.ClearField("graph"), Reason.MALFORMED_NETWORK, "no graph"),
        (external, Reason.UNSUPPORTED_OPERATION, "reads no files"),
        (sparse, Reason.UNSUPPORTED_OPERATION, "sparse"),
        (lambda m: m.graph.initializer[0].dims.append(-1), Reason.INVALID_TENSOR, "shape"),
        (lambda m: m.graph.initializer[0].dims.append(1 << 40), Reason.INVALID_TENSOR, "elements"),
        (lambda m: setattr(m.graph.initializer[0], "data_type", 8), Reason.UNSUPPORTED_OPERATION, "element type"),
        (lambda m: m.graph.initializer.append(m.graph.initializer[0]), Reason.DUPLICATE_NAME, "'w'"),
        (lambda m: setattr(m, "ir_version", 1000), Reason.UNSUPPORTED_OPERATION, "IR version"),
        (lambda m: setattr(m.opset_import[0], "version", 1000), Reason.UNSUPPORTED_OPERATION, "operator set"),
        (lambda m: m.graph.node[0].input.append("nowhere"), Reason.UNKNOWN_REFERENCE, "nowhere"),
        (lambda m: setattr(m.graph.node[0], "op_type", ""), Reason.UNKNOWN_OPERATION, "no operator"),
        (lambda m: m.graph.ClearField("output"), Reason.INVALID_NETWORK, "no outputs"),
        (lambda m: m.training_info.add(), Reason.UNSUPPORTED_OPERATION, "training"),
    ],
)
def test_a_model_is_refused(change: Callable[[onnx.ModelProto], object], reason: Reason, words: str) -> None:
    problem = refused(changed(change))
    assert problem.reason is reason
    assert words in str(problem)


def test_all_that_is_not_served_is_listed_with_its_places() -> None:
    def change(message: onnx.ModelProto) -> None:
        external(message)
        sparse(message)
        message.graph.node.add(op_type="Nonsense", name="first", output=["z"])
        message.graph.node.add(op_type="Thing", domain="other", output=["t"])

    problem = refused(changed(change))
    assert problem.metadata["unsupported"] == (
        "ai.onnx:Nonsense:21 at first; external data at w; other:Thing:? at t; sparse initializer at s"
    )


@pytest.mark.parametrize(
    "content",
    [b"\xff\xff", b"\x3a\x05ab", b"\x0b", serialized(GOOD)[:-3], b"\x3a" + b"\xff" * 12, b"\x3a\x04\x12\x02\xff\xfe"],
)
def test_bytes_that_are_no_model_are_refused(content: bytes) -> None:
    assert refused(content).reason is Reason.MALFORMED_NETWORK


def test_a_flood_of_empty_messages_is_refused_before_it_is_parsed() -> None:
    graph = b"\x0a\x00" * 3_000_000
    content = b"\x3a\x80\x9b\xee\x02" + graph
    assert len(graph) == 6_000_000
    problem = refused(content, Limits(nodes=5000))
    assert problem.reason is Reason.TOO_LARGE
    assert "fields" in str(problem)


def field(number: int, content: bytes) -> bytes:
    """A length-delimited field, written by hand: protobuf copies no message as deep as it must be here."""
    length, size = len(content), b""
    while length > 127:
        size += bytes([length & 127 | 128])
        length >>= 7
    return bytes([number << 3 | 2]) + size + bytes([length]) + content


@pytest.mark.parametrize("depth", [20, 40, 10_000])
def test_graphs_within_graphs_are_refused(depth: int) -> None:
    graph = b""
    for _ in range(depth):
        attribute = field(1, b"then_branch") + field(6, graph) + b"\xa0\x01\x05"
        graph = field(1, field(4, b"If") + field(5, attribute)) + field(12, field(1, b"y"))
    assert refused(field(7, graph) + field(8, b"\x10\x15")).reason is Reason.TOO_DEEP


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"\xff\xfe", Reason.MALFORMED_NETWORK),
        (b"", Reason.MALFORMED_NETWORK),
        (b"<ir_version: 8> g (", Reason.MALFORMED_NETWORK),
        (b"(" * 10_000, Reason.TOO_DEEP),
        (model(GOOD).encode() + b"\0", Reason.MALFORMED_NETWORK),
    ],
)
def test_text_that_is_no_model_is_refused(text: bytes, reason: Reason) -> None:
    assert refused(text, is_text=True).reason is reason


def test_all_unsupported_operators_are_listed_at_once() -> None:
    body = """(float[N] x) => (float[N] y) {
        [first] a = Nonsense(x) [second] b = other.Thing(a) [third] c = Nonsense(b) y = Relu(c)
    }"""
    with pytest.raises(Problem) as caught:
        load(body, head=', "other" : 1')
    problem = caught.value
    assert problem.reason is Reason.UNSUPPORTED_OPERATION
    assert problem.metadata["unsupported"] == "ai.onnx:Nonsense:21 at first, third; other:Thing:1 at second"


def test_too_many_nodes_are_refused() -> None:
    assert refused(serialized(GOOD), Limits(nodes=0)).reason is Reason.TOO_LARGE


def test_text_beside_tensors_is_bounded_and_tensors_are_not() -> None:
    body = GOOD.replace("2] w={1,2}", f"1000] w={{{','.join('1' for _ in range(1000))}}}")
    message = onnx.ModelProto.FromString(serialized(body))
    array = np.ones(1000, np.float32)
    message.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(array, "w"))
    load_network(message.SerializeToString(), Limits(definition_bytes=300))
    message.doc_string = "a" * 300
    assert refused(message.SerializeToString(), Limits(definition_bytes=300)).reason is Reason.TOO_LARGE


@pytest.mark.parametrize(
    "line",
    [
        "y = ConstantOfShape(s)",
        "r = ConstantOfShape(t) y = Expand(r, s)",
        "r = ConstantOfShape(t) y = Tile(r, s)",
        "a = Range(zero, huge, one) y = Relu(a)",
    ],
)
def test_what_would_be_too_large_is_refused_before_it_is_made(line: str) -> None:
    body = f"""(float[N] x) => (float[M] y) <int64[2] s={{2000000, 2000000}}, int64[2] t={{1, 1}},
        float zero={{0}}, float huge={{1e18}}, float one={{1}}> {{{line}}}"""
    with pytest.raises(Problem) as caught:
        forward(body, {"x": np.ones(1, np.float32)})
    assert caught.value.reason is Reason.TOO_LARGE


def test_a_node_that_does_not_fit_is_named() -> None:
    body = "(float[2,3] x) => (float[2,3] y) {[product] y = MatMul(x, x)}"
    with pytest.raises(Problem) as caught:
        forward(body, {"x": np.ones((2, 3), np.float32)})
    assert caught.value.reason is Reason.INVALID_NODE
    assert caught.value.metadata["node"] == "product"


def test_an_index_outside_its_axis_is_an_error_of_the_run() -> None:
    body = "(float[3] x, int64[1] i) => (float[1] y) {[pick] y = Gather(x, i)}"
    x = np.arange(3, dtype=np.float32)
    assert forward(body, {"x": x, "i": np.array([-1])})["y"].tolist() == [2]
    with pytest.raises(Problem) as caught:
        forward(body, {"x": x, "i": np.array([3])})
    assert caught.value.reason is Reason.INDEX_OUT_OF_RANGE
    assert caught.value.metadata["node"] == "pick"

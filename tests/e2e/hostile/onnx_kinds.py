"""ONNX models that are malformed, too large, too deep, or that point outside of themselves."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import partial

import numpy as np
import onnx
import onnx.parser
from google.protobuf.message import Message

from gradserve.v1 import network_pb2
from tests.e2e.hostile.kinds import NOT_SERVED, TOO_MUCH, Kind

GOOD = "(float[N, 2] x) => (float[N, 2] y) <float[2] w = {1, 2}> { [product] y = Mul(x, w) }"


def text(body: str, head: str = "") -> str:
    return f'<ir_version: 10, opset_import: ["": 21{head}]> graph {body}'


def sent(content: bytes) -> network_pb2.NetworkDefinition:
    return network_pb2.NetworkDefinition(onnx=content)


def model(body: str, head: str = "") -> bytes:
    return onnx.parser.parse_model(text(body, head)).SerializeToString()


def written(name: str, body: str, reason: str, words: str, code: str = "INVALID_ARGUMENT", head: str = "") -> Kind:
    """A model that is best said in ONNX's text."""
    return Kind(name, lambda: sent(model(body, head)), reason, words, code)


def changed(
    name: str,
    change: Callable[[onnx.ModelProto], object],
    reason: str,
    words: str,
    code: str = "INVALID_ARGUMENT",
    body: str = GOOD,
) -> Kind:
    """A good model with something changed that its text cannot say."""

    def network() -> network_pb2.NetworkDefinition:
        message = onnx.ModelProto.FromString(model(body))
        change(message)
        return sent(message.SerializeToString())

    return Kind(name, network, reason, words, code)


def raw(name: str, content: Callable[[], bytes], reason: str, words: str, code: str = "INVALID_ARGUMENT") -> Kind:
    """Bytes that the onnx package would not write."""
    return Kind(name, lambda: sent(content()), reason, words, code)


def said(name: str, content: str, reason: str, words: str, code: str = "INVALID_ARGUMENT") -> Kind:
    """ONNX text."""
    return Kind(name, lambda: network_pb2.NetworkDefinition(onnx_text=content), reason, words, code)


def field(number: int, content: bytes) -> bytes:
    """A length-delimited field, written by hand: protobuf copies no message as deep as it must be here."""
    length, size = len(content), b""
    while length > 127:
        size += bytes([length & 127 | 128])
        length >>= 7
    return bytes([number << 3 | 2]) + size + bytes([length]) + content


def nested(depth: int) -> bytes:
    """`depth` Ifs, each in a branch of the one before."""
    graph = b""
    for _ in range(depth):
        attribute = field(1, b"then_branch") + field(6, graph) + b"\xa0\x01\x05"
        graph = field(1, field(4, b"If") + field(5, attribute)) + field(12, field(1, b"y"))
    return field(7, graph) + field(8, b"\x10\x15")


def chained(count: int) -> bytes:
    """`count` nodes, each of which takes what the one before gives."""
    message = onnx.ModelProto.FromString(model(GOOD))
    del message.graph.node[:]
    names = ["x", *(f"v{number}" for number in range(1, count)), "y"]
    for before, after in itertools.pairwise(names):
        message.graph.node.add(op_type="Sin", input=[before], output=[after])
    return message.SerializeToString()


def calling(levels: int, calls: int, last: str = "Relu") -> bytes:
    """Functions that each call the one before `calls` times."""
    functions = [f'<opset_import: ["": 21, "own": 1], domain: "own"> f0 (a) => (b) {{ b = {last}(a) }}']
    for level in range(1, levels):
        lines = [f"v{call + 1} = own.f{level - 1}(v{call})" for call in range(calls)]
        body = "\n".join(lines).replace("(v0)", "(a)")
        functions.append(f'<opset_import: ["": 21, "own": 1], domain: "own"> f{level} (a) => (v{calls}) {{ {body} }}')
    body = f"(float[N, 2] x) => (float[N, 2] y) {{ y = own.f{levels - 1}(x) }}"
    return model("\n".join([body, *functions]), ', "own": 1')


def external(location: str, message: onnx.ModelProto) -> None:
    tensor = message.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.ClearField("float_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)


def external_constant(message: onnx.ModelProto) -> None:
    constant = message.graph.node.add(op_type="Constant", name="constant", output=["c"])
    tensor = constant.attribute.add(name="value", type=onnx.AttributeProto.TENSOR).t
    tensor.name = "c"
    tensor.external_data.add(key="location", value="weights.bin")


def segment(message: onnx.ModelProto) -> None:
    message.graph.initializer[0].segment.begin = 1


def initializer(change: Callable[[onnx.TensorProto], object]) -> Callable[[onnx.ModelProto], object]:
    return lambda message: change(message.graph.initializer[0])


def node(change: Callable[[onnx.NodeProto], object]) -> Callable[[onnx.ModelProto], object]:
    return lambda message: change(message.graph.node[0])


def copied(repeated: Callable[[onnx.ModelProto], Message]) -> Callable[[onnx.ModelProto], object]:
    """A model in which the first of several things is there twice."""

    def change(message: onnx.ModelProto) -> None:
        some = repeated(message)
        some.append(some[0])  # type: ignore[attr-defined]

    return change


def attribute(operator: str, name: str, **value: object) -> Callable[[onnx.ModelProto], object]:
    def change(message: onnx.ModelProto) -> None:
        del message.graph.node[0].input[1:]
        message.graph.node[0].op_type = operator
        message.graph.node[0].attribute.append(onnx.helper.make_attribute(name, value["value"]))

    return change


def folded(line: str, more: str = "") -> str:
    """A body that computes `y` from constants, as an exporter's computation of shapes does."""
    return f"""(float[N, 2] x) => (float[M] y) <int64[2] s = {{2000000, 2000000}}, int64[1] n = {{4000000000000}},
        int64[2] t = {{1, 1}}, int64 zero = {{0}}, int64 one = {{1}}, int64 huge = {{1000000000000000000}}{more}>
        {{ {line} }}"""


def wide() -> network_pb2.NetworkDefinition:
    """Constants that are small by themselves, and whose sum is not."""
    body = "(float[N, 2] x) => (float[A, B, C] y) { s = Sum(rows, columns, layers) y = Cast <to = 1> (s) }"
    message = onnx.ModelProto.FromString(model(body))
    for axis, name in enumerate(("rows", "columns", "layers")):
        shape = [1, 1, 1]
        shape[axis] = 1 << 16
        message.graph.initializer.append(onnx.numpy_helper.from_array(np.zeros(shape, "int64"), name))
    return sent(message.SerializeToString())


LOOP = """(float[N, 2] x) => (float[A, B] y) <int64 turns = {%d}, bool true = {1}, int64 zero = {0}> {
    [loop] y = Loop <body = body (int64 turn, bool before, float[A, B] in) => (bool after, float[A, B] out) { %s }>
        (turns, true, x)
}"""

SCAN = """(float[N, 2] x) => (float[A, B] y) <int64[1] turns = {5000}> {
    sequence = ConstantOfShape(turns)
    [scan] y = Scan <num_scan_inputs = 1, body = body (float[A, B] before, float one) => (float[C, B] after) {
        after = Concat <axis = 0> (before, before)
    }> (x, sequence)
}"""
KINDS = (
    raw("no bytes at all", lambda: b"", "MALFORMED_NETWORK", "no graph"),
    raw("noise", lambda: np.random.default_rng(0).bytes(1000), "MALFORMED_NETWORK", "no ONNX model"),
    raw("a model cut short", lambda: model(GOOD)[:-3], "MALFORMED_NETWORK", "no ONNX model"),
    raw("a length beyond the end", lambda: b"\x3a\xff\xff\xff\xff\x07", "MALFORMED_NETWORK", "no ONNX model"),
    raw("a number that never ends", lambda: b"\x08" + b"\xff" * 1000, "MALFORMED_NETWORK", "no ONNX model"),
    raw("a group that never ends", lambda: b"\x0b" * 1000, "MALFORMED_NETWORK", "no ONNX model"),
    raw("names that are no text", lambda: field(7, field(2, b"\xff\xfe")), "MALFORMED_NETWORK", "no ONNX model"),
    raw("a million empty nodes", lambda: field(7, b"\x0a\x00" * 1_000_000), "TOO_LARGE", "fields", TOO_MUCH),
    raw("a graph in 10,000 others", lambda: nested(10_000), "TOO_DEEP", "too deep"),
    raw("a graph in 20 others", lambda: nested(20), "TOO_DEEP", "too deep"),
    raw("10,000 nodes in a chain", lambda: chained(10_000), "TOO_LARGE", "too many", TOO_MUCH),
    raw("22 functions that double", lambda: calling(22, 2), "TOO_LARGE", "functions expanded", TOO_MUCH),
    raw("500 functions in a chain", lambda: calling(500, 1), "TOO_DEEP", "functions call functions"),
    raw("a function that calls itself", lambda: calling(1, 1, "own.f0"), "INVALID_NETWORK", "calls itself"),
    raw("functions in a circle", lambda: calling(30, 2, "own.f29"), "INVALID_NETWORK", "calls itself"),
    changed("a comment of 17 MB", lambda m: setattr(m, "doc_string", "a" * (17 << 20)), "TOO_LARGE", "bytes", TOO_MUCH),
    changed("no graph", lambda m: m.ClearField("graph"), "MALFORMED_NETWORK", "no graph"),
    changed("no outputs", lambda m: m.graph.ClearField("output"), "INVALID_NETWORK", "no outputs"),
    changed("no operator", node(lambda n: n.ClearField("op_type")), "UNKNOWN_OPERATION", "no operator"),
    changed("an IR version to come", lambda m: setattr(m, "ir_version", 1000), "UNSUPPORTED_OPERATION", "IR version", NOT_SERVED),
    changed("an opset to come", lambda m: setattr(m.opset_import[0], "version", 1 << 40), "UNSUPPORTED_OPERATION", "operator set", NOT_SERVED),
    changed("an opset before all", lambda m: setattr(m.opset_import[0], "version", -1), "UNSUPPORTED_OPERATION", "operator set", NOT_SERVED),
    changed("a training graph", lambda m: m.training_info.add(), "UNSUPPORTED_OPERATION", "training", NOT_SERVED),
    changed("weights in /etc/passwd", partial(external, "/etc/passwd"), "UNSUPPORTED_OPERATION", "reads no files", NOT_SERVED),
    changed("weights in a file beside it", partial(external, "weights.bin"), "UNSUPPORTED_OPERATION", "reads no files", NOT_SERVED),
    changed("weights in a folder above", partial(external, "../../weights.bin"), "UNSUPPORTED_OPERATION", "reads no files", NOT_SERVED),
    changed("a constant in a file", external_constant, "UNSUPPORTED_OPERATION", "reads no files", NOT_SERVED),
    changed("weights in segments", segment, "UNSUPPORTED_OPERATION", "segments", NOT_SERVED),
    changed("sparse weights", lambda m: m.graph.sparse_initializer.add(), "UNSUPPORTED_OPERATION", "sparse", NOT_SERVED),
    changed("weights of negative size", initializer(lambda t: t.dims.append(-1)), "INVALID_TENSOR", "no valid shape"),
    changed("weights larger than their bytes", initializer(lambda t: t.dims.append(1 << 62)), "INVALID_TENSOR", "does not fit"),
    changed("weights of a thousand axes", initializer(lambda t: t.dims.extend([1] * 1000)), "INVALID_TENSOR", "no valid shape"),
    changed("weights that are text", initializer(lambda t: setattr(t, "data_type", 8)), "UNSUPPORTED_OPERATION", "element type", NOT_SERVED),
    changed("weights of no type", initializer(lambda t: setattr(t, "data_type", 999)), "UNSUPPORTED_OPERATION", "element type", NOT_SERVED),
    changed("weights of one name", copied(lambda m: m.graph.initializer), "DUPLICATE_NAME", "'w'"),
    changed("inputs of one name", copied(lambda m: m.graph.input), "DUPLICATE_NAME", "'x'"),
    changed("values of one name", copied(lambda m: m.graph.node), "DUPLICATE_NAME", "'y'"),
    changed("an attribute of another kind", attribute("LeakyRelu", "alpha", value="steep"), "INVALID_NODE", "wrong kind"),
    changed("an attribute that is none", attribute("LeakyRelu", "slope", value=1.0), "INVALID_NODE", "no such attribute"),
    changed("an axis that is not there", attribute("Softmax", "axis", value=1 << 40), "INVALID_NODE", "out of bounds"),
    changed("a name of a megabyte", node(lambda n: n.input.append("w" * (1 << 20))), "UNKNOWN_REFERENCE", "not there"),
    written("nodes in a circle", GOOD.replace("Mul(x, w) }", "Mul(x, z) z = Relu(y) }"), "UNKNOWN_REFERENCE", "comes later"),
    written("an output of nothing", GOOD.replace("y =", "z ="), "UNKNOWN_REFERENCE", "'y'"),
    written("an operator of nobody", GOOD.replace("Mul", "Mull"), "UNSUPPORTED_OPERATION", "Mull", NOT_SERVED),
    written("an operator of someone's own", GOOD.replace("Mul", "evil.Mul"), "UNSUPPORTED_OPERATION", "evil:Mul", NOT_SERVED, ', "evil": 1'),
    written("too few inputs", GOOD.replace("Mul(x, w)", "Mul(x)"), "INVALID_NODE", "number of inputs"),
    written("an attribute left out", GOOD.replace("Mul(x, w)", "Cast(x)"), "INVALID_NODE", "'to' is missing"),
    written("a filling of terabytes", folded("y = ConstantOfShape(s)"), "TOO_LARGE", "too large", TOO_MUCH),
    written("an expansion to terabytes", folded("r = ConstantOfShape(t) y = Expand(r, s)"), "TOO_LARGE", "too large", TOO_MUCH),
    written("a tiling to terabytes", folded("r = ConstantOfShape(t) y = Tile(r, s)"), "TOO_LARGE", "too large", TOO_MUCH),
    written("a range of exabytes", folded("r = Range(zero, huge, one) y = Cast <to = 1> (r)"), "TOO_LARGE", "too large", TOO_MUCH),
    written("a padding to terabytes", folded("r = ConstantOfShape(t) p = Concat <axis = 0> (s, s) y = Pad(r, p)"), "TOO_LARGE", "too large", TOO_MUCH),
    written("one of a trillion", folded("v = Constant <value_floats = [0.0, 1.0]> () y = OneHot(t, n, v)"), "TOO_LARGE", "too large", TOO_MUCH),
    written("a window of terabytes", folded("y = HannWindow(n)"), "TOO_LARGE", "too large", TOO_MUCH),
    written("noise of terabytes", folded("y = RandomNormal <shape = [2000000, 2000000]> ()"), "TOO_LARGE", "too large", TOO_MUCH),
    Kind("a sum of petabytes", wide, "TOO_LARGE", "too large", TOO_MUCH),
    written("an exabyte in turns", LOOP % (1 << 30, "z = Concat <axis = 0> (in, in) out = Identity(z) after = Identity(before)"), "UNSUPPORTED_OPERATION", "turns", NOT_SERVED),
    written("a scan that doubles", SCAN, "UNSUPPORTED_OPERATION", "turns", NOT_SERVED),
    said("text that is none", "\x01" * 100, "MALFORMED_NETWORK", "syntax"),
    said("text that ends", "<ir_version: 8> g (", "MALFORMED_NETWORK", "syntax"),
    said("a string that never ends", '<ir_version: 8, producer_name: "' + "a" * 1000, "MALFORMED_NETWORK", "syntax"),
    said("text with a null", text(GOOD) + "\0", "MALFORMED_NETWORK", "null"),
    said("10,000 brackets", "(" * 10_000, "TOO_DEEP", "brackets"),
    said("17 MB of text", " " * (17 << 20) + text(GOOD), "TOO_LARGE", "too large", TOO_MUCH),
    said("a trillion weights in text", text(GOOD.replace("float[2] w", "float[1000000000000] w")), "INVALID_TENSOR", "does not fit"),
    said("a number of 400 digits", text(GOOD.replace("{1, 2}", "{1, " + "9" * 400 + "}")), "MALFORMED_NETWORK", "syntax"),
)  # fmt: skip

"""``ModelProto`` to `Model`: what can be checked without knowing any operator."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, final

import onnx
from onnx import AttributeProto

from gradserve_server.common.errors import Problem, Reason, shorten
from gradserve_server.common.specs import Limits
from gradserve_server.compute.frontends.onnx.definition import Form, Function, FunctionKey, Graph, Model, Node, Opsets
from gradserve_server.compute.frontends.onnx.tensors import read_tensor
from gradserve_server.compute.frontends.onnx.types import DTYPES

_OLDEST_OPSET = 1
_DEFAULT_DOMAIN = "ai.onnx"

READ_KINDS: Mapping[int, Callable[[AttributeProto], Any]] = {
    AttributeProto.INT: lambda one: one.i,
    AttributeProto.FLOAT: lambda one: one.f,
    AttributeProto.STRING: lambda one: _text(one.s),
    AttributeProto.INTS: lambda one: tuple(one.ints),
    AttributeProto.FLOATS: lambda one: tuple(one.floats),
    AttributeProto.STRINGS: lambda one: tuple(_text(text) for text in one.strings),
    AttributeProto.TYPE_PROTO: lambda one: one.tp,
}


def read_model(message: onnx.ModelProto, limits: Limits) -> Model:
    """The model in `message`.

    Raises:
        Problem: it is no model that can be served, whatever its operators are.
    """
    if not message.HasField("graph"):
        raise Problem(Reason.MALFORMED_NETWORK, "the model has no graph", field="network")
    if message.ir_version > onnx.IR_VERSION:
        raise Problem(
            Reason.UNSUPPORTED_OPERATION,
            "the model's IR version is newer than the server knows",
            field="network",
            given=str(message.ir_version),
            expected=f"at most {onnx.IR_VERSION}",
        )
    if len(message.training_info):
        raise Problem(
            Reason.UNSUPPORTED_OPERATION,
            "training graphs within a model are not served",
            field="network.training_info",
            hint="Send the loss with the request.",
        )
    opsets = opsets_of(message.opset_import)
    if "" not in opsets and message.ir_version < 3:
        opsets = {**opsets, "": 1}
    _check_opset(opsets)
    reader = _Reader(limits)
    functions: dict[FunctionKey, Function] = {}
    for function in message.functions:
        key = (domain_of(function.domain), function.name, function.overload)
        if key in functions:
            raise Problem(Reason.DUPLICATE_NAME, "two functions have the same name", given=repr(key))
        functions[key] = reader.function(function, opsets)
    return Model(reader.graph(message.graph, 0), functions, opsets)


def read_function(message: onnx.FunctionProto, limits: Limits) -> Function:
    """The body that the ONNX standard gives an operator."""
    return _Reader(limits).function(message, {})


@final
class _Reader:
    """Reads graphs and functions; counts their nodes."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._nodes = 0

    def function(self, message: onnx.FunctionProto, outer: Opsets) -> Function:
        _unique(message.input, "inputs", message.name)
        opsets = {**outer, **opsets_of(message.opset_import)}
        _check_opset(opsets)
        return Function(
            message.name,
            tuple(message.input),
            tuple(message.output),
            {one.name: self._attribute(one, message.name, 0) for one in message.attribute_proto},
            self._nodes_of(message.node, 0),
            opsets,
        )

    def graph(self, message: onnx.GraphProto, depth: int) -> Graph:
        if depth > self._limits.block_depth:
            raise Problem(
                Reason.TOO_DEEP,
                "graphs are nested too deep",
                field="network",
                expected=f"at most {self._limits.block_depth} within each other",
            )
        if len(message.sparse_initializer):
            raise Problem(
                Reason.UNSUPPORTED_OPERATION,
                "sparse initializers are not served",
                field=f"network.{message.sparse_initializer[0].values.name}",
                hint="Save them as dense tensors.",
            )
        initializers = {}
        for tensor in message.initializer:
            if tensor.name in initializers:
                raise _duplicate(tensor.name, "initializers")
            initializers[tensor.name] = read_tensor(tensor, self._limits)
        inputs = [one for one in message.input if one.name not in initializers]
        _unique([one.name for one in message.input], "inputs", message.name)
        if not message.output:
            raise Problem(Reason.INVALID_NETWORK, "a graph has no outputs", field="network", given=message.name)
        forms = {one.name: _form(one) for one in (*inputs, *message.output)}
        return Graph(
            tuple(one.name for one in inputs),
            tuple(one.name for one in message.output),
            self._nodes_of(message.node, depth),
            initializers,
            {name: form for name, form in forms.items() if form is not None},
        )

    def _nodes_of(self, messages: Sequence[onnx.NodeProto], depth: int) -> tuple[Node, ...]:
        self._nodes += len(messages)
        if self._nodes > self._limits.nodes:
            raise Problem(
                Reason.TOO_LARGE,
                "the model has too many nodes",
                field="network",
                given=f"{self._nodes} or more",
                expected=f"at most {self._limits.nodes}",
            )
        taken: set[str] = set()
        return tuple(self._node(one, depth, taken) for one in messages)

    def _node(self, message: onnx.NodeProto, depth: int, taken: set[str]) -> Node:
        name = message.name or next((one for one in message.output if one), "") or message.op_type
        if name in taken:
            # Shown to people, who can tell two nodes of one name apart by what they give.
            name = f"{name}:{next((one for one in message.output if one), len(taken))}"
        taken.add(name)
        if not message.op_type:
            raise Problem(Reason.UNKNOWN_OPERATION, "the node has no operator", field="network", node=name)
        attributes, references = {}, {}
        for one in message.attribute:
            if one.name in attributes or one.name in references:
                raise Problem(
                    Reason.DUPLICATE_NAME, "an attribute is there twice", field="network", node=name, given=one.name
                )
            if one.ref_attr_name:
                references[one.name] = one.ref_attr_name
            else:
                attributes[one.name] = self._attribute(one, name, depth)
        return Node(
            name,
            domain_of(message.domain),
            message.op_type,
            message.overload,
            tuple(message.input),
            tuple(message.output),
            attributes,
            references,
        )

    def _attribute(self, message: AttributeProto, node: str, depth: int) -> Any:
        if message.type == AttributeProto.TENSOR:
            return read_tensor(message.t, self._limits, node=node)
        if message.type == AttributeProto.GRAPH:
            return self.graph(message.g, depth + 1)
        read = READ_KINDS.get(message.type)
        if read is None:
            raise Problem(
                Reason.UNSUPPORTED_OPERATION,
                f"attribute '{message.name}' is of a kind that is not served",
                field="network",
                node=node,
                given=kind_name(message.type),
            )
        return read(message)


def opsets_of(messages: Iterable[onnx.OperatorSetIdProto]) -> dict[str, int]:
    """Versions of operator sets by domain."""
    return {domain_of(one.domain): one.version for one in messages}


def _check_opset(opsets: Opsets) -> None:
    newest = onnx.defs.onnx_opset_version()
    version = opsets.get("", newest)
    if not _OLDEST_OPSET <= version <= newest:
        raise Problem(
            Reason.UNSUPPORTED_OPERATION,
            "this version of the operator set is not served",
            field="network.opset_import",
            given=str(version),
            expected=f"{_OLDEST_OPSET} to {newest}",
        )


def domain_of(name: str) -> str:
    """A domain's name; empty for ONNX's own."""
    return "" if name == _DEFAULT_DOMAIN else name


def _text(content: bytes) -> str:
    return content.decode(errors="replace")


def kind_name(number: int) -> str:
    """What ONNX calls a kind of attribute."""
    try:
        return AttributeProto.AttributeType.Name(number)
    except ValueError:
        return str(number)


def _form(message: onnx.ValueInfoProto) -> Form | None:
    """What is declared of a value, if that is a tensor of a type that is served and has a shape."""
    tensor = message.type.tensor_type
    if message.type.WhichOneof("value") != "tensor_type" or tensor.elem_type not in DTYPES:
        return None
    if not tensor.HasField("shape"):
        return None
    shape: list[int | str] = []
    for axis, one in enumerate(tensor.shape.dim):
        if one.HasField("dim_value") and one.dim_value >= 0:
            shape.append(one.dim_value)
        else:
            shape.append(one.dim_param or f"{message.name}.{axis}")
    return Form(DTYPES[tensor.elem_type].name, tuple(shape))


def _unique(names: Iterable[str], what: str, owner: str) -> None:
    seen = set()
    for name in names:
        if name in seen:
            raise _duplicate(name, what, owner)
        seen.add(name)


def _duplicate(name: str, what: str, owner: str = "") -> Problem:
    place = f" of '{owner}'" if owner else ""
    return Problem(
        Reason.DUPLICATE_NAME, f"two {what}{place} have the same name", field="network", given=repr(shorten(name, 80))
    )

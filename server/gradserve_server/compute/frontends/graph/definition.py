"""A graph as it was sent, checked as far as that goes without shapes: names, references, operations, nesting."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

from google.protobuf.message import DecodeError

from gradserve.v1 import network_pb2, tensor_pb2
from gradserve_server.common.errors import Problem, Reason, near
from gradserve_server.common.specs import Limits, SymbolicSpec
from gradserve_server.common.unknown_fields import refuse_unknown

NODE_NAME = re.compile(r"[A-Za-z0-9_.-]+", re.ASCII)
INPUT_PATH = re.compile(r"[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*", re.ASCII)
DIMENSION_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)


@dataclasses.dataclass(frozen=True)
class Node:
    """One operation, its references known to exist.

    Attributes:
        name: unique in its graph.
        path: name with the names of the blocks around it, as parameters and errors write it.
        field: path of its message in the request.
        operation: name of the field of ``Node.operation``.
        attributes: that field's message.
        inputs: what it refers to.
        owner: path under which its parameters are known; another node's where they are shared.
        shares: whether that is another node's.
        body: graph of a block; None otherwise.
    """

    name: str
    path: str
    field: str
    operation: str
    attributes: Any
    inputs: tuple[str, ...]
    owner: str
    shares: bool
    body: Graph | None


@dataclasses.dataclass(frozen=True)
class Input:
    """An input of a graph; `spec` is None where its type and shape are inferred."""

    name: str
    spec: SymbolicSpec | None


@dataclasses.dataclass(frozen=True)
class Graph:
    """Nodes in topological order.

    Attributes:
        inputs: what it takes.
        nodes: one operation each.
        outputs: names of the nodes that it gives.
        field: path of its message in the request.
        walked: number of nodes that one walk over it meets, blocks and their derivatives included.
    """

    inputs: tuple[Input, ...]
    nodes: tuple[Node, ...]
    outputs: tuple[str, ...]
    field: str
    walked: int


def parse(content: bytes, field: str) -> network_pb2.Graph:
    """The message in `content`, with nothing unknown in it."""
    try:
        message = network_pb2.Graph.FromString(content)
    except DecodeError as error:
        raise Problem(Reason.MALFORMED_NETWORK, f"not a serialized Graph ({error})", field=field) from None
    refuse_unknown(message, field)
    return message


def read(
    message: network_pb2.Graph,
    field: str,
    limits: Limits,
    *,
    inputs_inferred: bool = False,
    operations: frozenset[str],
    paths_as_inputs: bool = False,
) -> Graph:
    """The definition in `message`.

    Args:
        message: what was sent.
        field: its path in the request.
        limits: bounds on nodes and nesting.
        inputs_inferred: whether inputs may leave out their type and shape (bodies of blocks, custom losses).
        operations: operations that there are.
        paths_as_inputs: whether inputs may be named as parameters are, ``<node>/<parameter>`` (custom losses).
    """
    reader = _Reader(limits, operations, INPUT_PATH if paths_as_inputs else NODE_NAME)
    return reader.graph(message, field, "", "", depth=0, inputs_inferred=inputs_inferred)


class _Reader:
    def __init__(self, limits: Limits, operations: frozenset[str], input_name: re.Pattern[str]) -> None:
        self.limits = limits
        self.input_name = input_name
        self.operations = operations
        self.nodes = 0

    def graph(
        self,
        message: network_pb2.Graph,
        field: str,
        prefix: str,
        owner: str,
        *,
        depth: int,
        inputs_inferred: bool,
    ) -> Graph:
        if depth > self.limits.block_depth:
            raise Problem(
                Reason.TOO_DEEP,
                "blocks are nested too deeply",
                field=field,
                node=prefix.rstrip("/"),
                given=f"{depth} levels",
                expected=f"at most {self.limits.block_depth}",
            )
        self.nodes += len(message.nodes)
        if self.nodes > self.limits.nodes:
            raise Problem(
                Reason.TOO_LARGE,
                "the graph has too many nodes",
                field=f"{field}.nodes",
                given=f"{self.nodes} or more",
                expected=f"at most {self.limits.nodes}",
                hint="Write what repeats as a block with `repeat`.",
            )
        if not message.nodes:
            raise Problem(Reason.INVALID_NETWORK, "a graph needs at least one node", field=f"{field}.nodes")
        inputs = [
            self.input(one, f"{field}.inputs[{index}]", inputs_inferred) for index, one in enumerate(message.inputs)
        ]
        seen: dict[str, Node | None] = {}
        for index, one in enumerate(inputs):
            if one.name in seen:
                raise _duplicate(one.name, f"{field}.inputs[{index}].name")
            seen[one.name] = None
        nodes = []
        for index, sent in enumerate(message.nodes):
            node = self.node(sent, f"{field}.nodes[{index}]", prefix, owner, depth, seen, message)
            seen[node.name] = node
            nodes.append(node)
        outputs = tuple(message.outputs) or (nodes[-1].name,)
        for index, name in enumerate(outputs):
            place = f"{field}.outputs[{index}]"
            if seen.get(name) is None:
                raise Problem(
                    Reason.UNKNOWN_REFERENCE,
                    "an output must be a node of the graph",
                    field=place,
                    given=repr(name),
                    hint=near(name, [node.name for node in nodes]),
                )
            if name in outputs[:index]:
                raise _duplicate(name, place)
        return Graph(tuple(inputs), tuple(nodes), outputs, field, self.walked(nodes, seen, field))

    def input(self, message: tensor_pb2.TensorSpec, field: str, inferred: bool) -> Input:
        check_name(message.name, f"{field}.name", self.input_name)
        if message.data_type == tensor_pb2.DATA_TYPE_UNSPECIFIED:
            if inferred and not message.shape:
                return Input(message.name, None)
            raise Problem(Reason.MISSING_FIELD, "an input needs an element type", field=f"{field}.data_type")
        shape: list[int | str] = []
        if len(message.shape) > self.limits.axes:
            raise Problem(
                Reason.TOO_LARGE,
                "too many axes",
                field=f"{field}.shape",
                given=str(len(message.shape)),
                expected=f"at most {self.limits.axes}",
            )
        for index, dimension in enumerate(message.shape):
            place = f"{field}.shape[{index}]"
            match dimension.WhichOneof("extent"):
                case "size" if dimension.size >= 1:
                    shape.append(dimension.size)
                case "size":
                    raise Problem(
                        Reason.INVALID_VALUE,
                        "not a size",
                        field=f"{place}.size",
                        given=str(dimension.size),
                        expected="at least 1",
                    )
                case "symbol" if DIMENSION_NAME.fullmatch(dimension.symbol):
                    shape.append(dimension.symbol)
                case "symbol":
                    raise Problem(
                        Reason.INVALID_VALUE,
                        "not a name for a dimension",
                        field=f"{place}.symbol",
                        given=repr(dimension.symbol),
                        expected="a letter or _, then letters, digits and _",
                    )
                case _:
                    raise Problem(Reason.MISSING_FIELD, "an axis needs a size or a name", field=place)
        name = tensor_pb2.DataType.Name(message.data_type).removeprefix("DATA_TYPE_").lower()
        return Input(message.name, SymbolicSpec(message.name, name, tuple(shape)))

    def node(
        self,
        message: network_pb2.Node,
        field: str,
        prefix: str,
        owners: str,
        depth: int,
        seen: dict[str, Node | None],
        graph: network_pb2.Graph,
    ) -> Node:
        check_name(message.name, f"{field}.name")
        path = prefix + message.name
        if message.name in seen:
            raise _duplicate(message.name, f"{field}.name")
        for index, reference in enumerate(message.inputs):
            if reference not in seen and reference.split("/", 1)[0] not in seen:
                raise _unknown_reference(reference, f"{field}.inputs[{index}]", path, seen, graph)
        operation = message.WhichOneof("operation") or ""
        attributes: Any = getattr(message, operation) if operation else message
        owner, body = owners + message.name, None
        if message.share:
            shared = seen.get(message.share)
            if shared is None:
                raise _unknown_reference(message.share, f"{field}.share", path, seen, graph)
            owner = shared.owner
            if not operation:
                operation, attributes = shared.operation, shared.attributes
            elif operation != shared.operation:
                raise Problem(
                    Reason.INVALID_NODE,
                    f"it shares the parameters of '{shared.name}', which is another operation",
                    field=f"{field}.share",
                    node=path,
                    given=operation,
                    expected=shared.operation,
                )
        if not operation:
            raise Problem(Reason.UNKNOWN_OPERATION, "the node has no operation", field=field, node=path)
        if operation not in self.operations and operation != "block":
            raise Problem(
                Reason.UNSUPPORTED_OPERATION,
                f"the operation '{operation}' is not served yet",
                field=f"{field}.{operation}",
                node=path,
                given=operation,
                hint=f"Served are: {', '.join(sorted(self.operations | {'block'}))}.",
                metadata={"operation": operation},
            )
        place = f"{field}.{operation}"
        if operation == "tangent":
            self.tangent(attributes, place, path, seen)
        if operation == "block":
            self.block(attributes, place, path)
            body = self.graph(
                attributes.body,
                f"{place}.body",
                f"{path}/",
                f"{owner}/",
                depth=depth + 1,
                inputs_inferred=True,
            )
        return Node(
            message.name,
            path,
            place,
            operation,
            attributes,
            tuple(message.inputs),
            owner,
            bool(message.share),
            body,
        )

    def block(self, attributes: Any, field: str, path: str) -> None:
        if attributes.HasField("repeat") and not 1 <= attributes.repeat <= self.limits.repeat:
            raise Problem(
                Reason.INVALID_VALUE,
                "not a number of turns",
                field=f"{field}.repeat",
                node=path,
                given=str(attributes.repeat),
                expected=f"1 to {self.limits.repeat}",
            )
        if not attributes.HasField("body"):
            raise Problem(Reason.MISSING_FIELD, "a block needs a body", field=f"{field}.body", node=path)

    def tangent(self, attributes: Any, field: str, path: str, seen: dict[str, Node | None]) -> None:
        block = seen.get(attributes.of)
        if block is None or block.body is None:
            raise Problem(
                Reason.UNKNOWN_REFERENCE,
                "only an earlier block of the same graph can be derived",
                field=f"{field}.of",
                node=path,
                given=repr(attributes.of),
                hint=near(attributes.of, [name for name, node in seen.items() if node is not None and node.body]),
            )

    def walked(self, nodes: list[Node], seen: dict[str, Node | None], field: str) -> int:
        """How many nodes a walk over `nodes` meets: a derivative walks over its block again, twice as wide."""
        total = 0
        for node in nodes:
            derived = seen[node.attributes.of] if node.operation == "tangent" else None
            total += 1 + (node.body.walked if node.body else 0)
            total += 2 * derived.body.walked if derived and derived.body else 0
        if total > self.limits.nodes:
            raise Problem(
                Reason.TOO_LARGE,
                "derivatives of blocks within blocks come to too many nodes",
                field=f"{field}.nodes",
                given=str(total),
                expected=f"at most {self.limits.nodes}",
            )
        return total


def check_name(name: str, field: str, pattern: re.Pattern[str] = NODE_NAME) -> None:
    """Refuses a name that is empty or could be mistaken for a path."""
    if not pattern.fullmatch(name):
        raise Problem(
            Reason.INVALID_VALUE,
            "not a name",
            field=field,
            given=repr(name),
            expected="one or more of A-Z a-z 0-9 _ . -",
        )


def _duplicate(name: str, field: str) -> Problem:
    return Problem(Reason.DUPLICATE_NAME, "the name is taken in this graph", field=field, given=repr(name))


def _unknown_reference(
    reference: str, field: str, path: str, seen: dict[str, Node | None], graph: network_pb2.Graph
) -> Problem:
    head = reference.split("/", 1)[0]
    later = any(node.name == head for node in graph.nodes)
    what = "it refers to itself or to a later node" if later else "it refers to what is not there"
    hint = "Put that node before this one." if later else near(head, seen)
    return Problem(
        Reason.UNKNOWN_REFERENCE,
        what,
        field=field,
        node=path,
        given=repr(reference),
        expected="an input or an earlier node",
        hint=hint,
    )

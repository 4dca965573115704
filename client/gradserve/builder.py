"""A network node by node: branches, residuals, blocks, shared and tied parameters."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from typing import Any, final

import numpy as np

from gradserve.errors import InvalidRequest
from gradserve.initializers import Initializer
from gradserve.layers import Layer, concatenate, whole
from gradserve.network import Network, Spec, shape_of, tensor_spec
from gradserve.tensors import ArrayLike, DTypeLike, to_dtype, to_tensor
from gradserve.v1 import network_pb2
from gradserve.values import Operand, Value

_NAME = re.compile(r"[A-Za-z0-9_.-]+")
_REFERENCE = re.compile(r"[A-Za-z0-9_./-]+")

_Arithmetic = network_pb2.Arithmetic


_FUNCTIONS = {
    "add": _Arithmetic.FUNCTION_ADD,
    "subtract": _Arithmetic.FUNCTION_SUBTRACT,
    "multiply": _Arithmetic.FUNCTION_MULTIPLY,
    "divide": _Arithmetic.FUNCTION_DIVIDE,
    "power": _Arithmetic.FUNCTION_POWER,
    "maximum": _Arithmetic.FUNCTION_MAXIMUM,
    "minimum": _Arithmetic.FUNCTION_MINIMUM,
    "matmul": _Arithmetic.FUNCTION_MATMUL,
}


@final
class GraphBuilder:
    """Builds a `Network` node by node.

    Names, and which value belongs to which builder, are checked at once; shapes are the server's
    work, which `Client.describe` shows.

    Example:
        >>> graph = gs.GraphBuilder("residual")
        >>> x = graph.input("x", "batch", 64)
        >>> h = graph.add(gs.dense(64), x, name="h")
        >>> net = graph.build(outputs=[x + graph.add(gs.relu(), h)])

    Args:
        name: what logs and traces call the network.
    """

    def __init__(self, name: str = "") -> None:
        self._graph = network_pb2.Graph(name=name)
        self._names: set[str] = set()
        self._counts: dict[str, int] = {}

    def input(self, name: str, *shape: int | str, dtype: DTypeLike = "float32") -> Value:
        """An input, which a batch must hold under this name.

        In the body of a block and in a custom loss, shape and type are inferred, and what is said
        here is left out. The input of a custom loss may be named for a parameter
        (``"dense_1/kernel"``).

        Args:
            name: its name.
            shape: sizes of the axes; a string such as ``"batch"`` names a size that the batch
                decides.
            dtype: element type.

        Raises:
            InvalidRequest: the name is taken or no name, or a size is no size.
        """
        form = Spec(shape_of(shape, f"input {name!r}"), to_dtype(dtype))
        self._take(name, _REFERENCE)
        self._graph.inputs.append(tensor_spec(name, form))
        return Value(self, name)

    def add(self, layer: Layer | Network, *inputs: Operand, name: str | None = None) -> Value:
        """A layer, applied to values; a network becomes a block that runs once.

        Args:
            layer: what to apply.
            inputs: its inputs, in the order that it takes them.
            name: name of the node; the layer's own, or one counted by kind, if None.

        Returns:
            its result.
        """
        if isinstance(layer, Network):
            return self.block(layer, *inputs, name=name)
        if not isinstance(layer, Layer):
            raise InvalidRequest.because(
                "no layer",
                field="layer",
                given=repr(layer),
                expected="a layer such as gs.dense(10), or a network",
            )
        message = layer.message
        values = [self._value(one) for one in inputs]
        if layer.masked:
            self._mask(message, values)
        return self._node(message, layer.kind, values, name or layer.name)

    def parameter(self, name: str, shape: Sequence[int] = (), initializer: Initializer | None = None) -> Value:
        """A free parameter. Its name among the weights is `name` alone.

        Args:
            name: its name.
            shape: sizes of the axes; empty for a scalar.
            initializer: how it starts; zero if None.
        """
        message = network_pb2.Parameter(
            shape=[whole(size, "parameter.shape") for size in shape],
            initializer=initializer.message if initializer else None,
        )
        return self._node(network_pb2.Node(parameter=message), "parameter", (), name)

    def constant(self, value: ArrayLike, name: str | None = None) -> Value:
        """A fixed tensor.

        Args:
            value: a Python number, which takes the type of what it is combined with; or an array,
                which keeps its own (float64 too).
            name: name of the node; ``constant_1``, ... if None.
        """
        if isinstance(value, (int, float)) and not isinstance(value, (bool, np.generic)):
            message = network_pb2.Constant(number=value)
        else:
            message = network_pb2.Constant(value=to_tensor(value, "constant"))
        return self._node(network_pb2.Node(constant=message), "constant", (), name)

    def arithmetic(self, function: str, *operands: Operand, name: str | None = None) -> Value:
        """Arithmetic on two or more values, with broadcasting.

        Args:
            function: ``"add"``, ``"multiply"``, ``"maximum"`` and ``"minimum"`` take two or more,
                ``"subtract"``, ``"divide"``, ``"power"`` and ``"matmul"`` two.
            operands: values; numbers and arrays become constants.
            name: name of the node; ``add_1``, ... if None.
        """
        if function not in _FUNCTIONS:
            raise InvalidRequest.because(
                "no such function",
                field="arithmetic.function",
                given=repr(function),
                expected=f"one of {', '.join(_FUNCTIONS)}",
            )
        message = _Arithmetic(function=_FUNCTIONS[function])
        return self._node(network_pb2.Node(arithmetic=message), function, operands, name)

    def maximum(self, *operands: Operand, name: str | None = None) -> Value:
        """The larger of two or more values, element by element."""
        return self.arithmetic("maximum", *operands, name=name)

    def minimum(self, *operands: Operand, name: str | None = None) -> Value:
        """The smaller of two or more values, element by element."""
        return self.arithmetic("minimum", *operands, name=name)

    def concatenate(self, values: Iterable[Value], axis: int = -1, name: str | None = None) -> Value:
        """Two or more values joined along an axis.

        Args:
            values: what to join.
            axis: negative from the end.
            name: name of the node; ``concatenate_1``, ... if None.
        """
        return self.add(concatenate(axis), *values, name=name)

    def parameter_of(self, node: Value, parameter: str) -> Value:
        """A parameter of an earlier node, as a value (tied weights).

        Args:
            node: the node.
            parameter: its parameter, such as ``"kernel"``; inside blocks ``"dense_1/kernel"``.
        """
        return self._part_of(node, parameter)

    def block(
        self,
        body: Network,
        *inputs: Operand,
        repeat: int | None = None,
        share_parameters: bool = False,
        name: str | None = None,
    ) -> Value:
        """A network used as one node, once or many times in a row.

        With `repeat`, the result feeds the first input again, and parameters get a first axis of
        this size unless they are shared; compile time does not grow with it.

        Args:
            body: the network; declared types and shapes of its inputs are left out.
            inputs: bind to its inputs in order.
            repeat: times in a row; once, without the extra axis, if None.
            share_parameters: use the same parameters each time.
            name: name of the node; ``block_1``, ... if None.

        Returns:
            its first output; `output_of` gives the others.
        """
        if not isinstance(body, Network):
            raise InvalidRequest.because("no network", field="body", given=repr(body), expected="a gs.Network")
        expected = [one.name for one in body.inputs]
        if len(inputs) != len(expected):
            raise InvalidRequest.because(
                "another number of inputs than the body has",
                field="block.inputs",
                given=len(inputs),
                expected=f"{len(expected)} ({', '.join(expected)})",
            )
        return self._node(block_node(body, repeat, share_parameters), "block", inputs, name)

    def tangent(self, block: Value, *directions: Operand, name: str | None = None) -> Value:
        """The derivative of an earlier block's first output, in a direction of its inputs.

        In a block of its own it can be derived again, for losses that contain derivatives.

        Example:
            >>> u = graph.block(body, x, t)
            >>> u_x, u_t = graph.tangent(u, 1.0, 0.0), graph.tangent(u, 0.0, 1.0)

        Args:
            block: the block.
            directions: one for each of its inputs, broadcast to its shape; the number 0 holds it fixed.
            name: name of the node; ``tangent_1``, ... if None.
        """
        message = network_pb2.Tangent(of=self._own(block))
        return self._node(network_pb2.Node(tangent=message), "tangent", directions, name)

    def output_of(self, block: Value, output: str) -> Value:
        """A further output of an earlier block; with a first axis of `repeat` if it repeats.

        Args:
            block: the block.
            output: name of the output in its body.
        """
        return self._part_of(block, output)

    def share(self, node: Value, *inputs: Operand, name: str | None = None) -> Value:
        """An earlier node once more, with the same parameters, on other inputs.

        Args:
            node: the node.
            inputs: its inputs this time.
            name: name of the new node; ``<node>_shared_1``, ... if None.
        """
        earlier = self._own(node)
        message = network_pb2.Node(share=earlier)
        values = [self._value(one) for one in inputs]
        owner = next((one for one in self._graph.nodes if one.name == earlier), network_pb2.Node())
        operation: Any = owner.WhichOneof("operation")
        if operation and getattr(getattr(owner, operation), "mask", ""):
            # The same layer, but its mask has another name this time.
            getattr(message, operation).CopyFrom(getattr(owner, operation))
            self._mask(message, values)
        return self._node(message, f"{earlier}_shared", values, name)

    def build(self, outputs: Iterable[Value] | None = None) -> Network:
        """The network. The builder can go on afterwards.

        Args:
            outputs: what it gives, in order; the last node if None.

        Raises:
            InvalidRequest: there are no nodes, or an output is no node of this builder.
        """
        if not self._graph.nodes:
            raise InvalidRequest.because("the network has no nodes", field="graph", hint="Add a layer.")
        graph = network_pb2.Graph()
        graph.CopyFrom(self._graph)
        names = [self._own(one) for one in outputs or ()]
        inputs = {one.name for one in graph.inputs}
        for name in names:
            if name in inputs or "/" in name:
                raise InvalidRequest.because(
                    "only a node can be an output",
                    field="outputs",
                    given=repr(name),
                    hint="Add 0 to it to make a node of it.",
                )
        graph.outputs.extend(names)
        return Network(graph)

    def _node(
        self,
        message: network_pb2.Node,
        kind: str,
        inputs: Sequence[Operand],
        name: str | None,
    ) -> Value:
        message.inputs.extend([self._own(self._value(one)) for one in inputs])
        if name is None:
            name = self._count(kind)
        self._take(name, _NAME)
        message.name = name
        self._graph.nodes.append(message)
        return Value(self, name)

    def _mask(self, message: network_pb2.Node, inputs: Sequence[Value]) -> None:
        """Names the last input as the mask of the node's operation."""
        operation: Any = message.WhichOneof("operation")
        if len(inputs) < 2:
            raise InvalidRequest.because(
                "the mask is missing",
                field=f"{operation}.mask",
                given=f"{len(inputs)} inputs",
                expected="a mask as last input",
                hint="gs.GraphBuilder takes layers with more than one input.",
            )
        getattr(message, operation).mask = self._own(inputs[-1])

    def _count(self, kind: str) -> str:
        while True:
            self._counts[kind] = self._counts.get(kind, 0) + 1
            name = f"{kind}_{self._counts[kind]}"
            if name not in self._names:
                return name

    def _take(self, name: object, pattern: re.Pattern[str]) -> None:
        if not isinstance(name, str) or not pattern.fullmatch(name):
            raise InvalidRequest.because(
                "no name",
                field="name",
                given=repr(name),
                expected="letters, digits and any of _ . -",
            )
        if name in self._names:
            raise InvalidRequest.because("the name is taken in this graph", field="name", given=repr(name))
        self._names.add(name)

    def _value(self, operand: object) -> Value:
        if isinstance(operand, Value):
            return operand
        if isinstance(operand, (str, Layer, Network)):
            raise InvalidRequest.because(
                "no value of this graph",
                field="inputs",
                given=repr(operand),
                expected="what input(), add() and the like returned",
                hint=self._near(operand) if isinstance(operand, str) else "",
            )
        return self.constant(operand)

    def _own(self, value: object) -> str:
        if not isinstance(value, Value):
            raise InvalidRequest.because(
                "no value of this graph",
                field="value",
                given=repr(value),
                expected="what input(), add() and the like returned",
            )
        if value.builder is not self:
            raise InvalidRequest.because("the value belongs to another builder", field="value", given=repr(value.name))
        return value.name

    def _part_of(self, node: Value, part: object) -> Value:
        name = self._own(node)
        if not isinstance(part, str) or not _REFERENCE.fullmatch(part):
            raise InvalidRequest.because("no name", field="name", given=repr(part))
        if not any(one.name == name for one in self._graph.nodes):
            raise InvalidRequest.because("only a node has parameters and outputs", field="node", given=repr(name))
        return Value(self, f"{name}/{part}")

    def _near(self, name: str) -> str:
        near = difflib.get_close_matches(name, self._names, n=1)
        return f"Did you mean the value named {near[0]!r}?" if near else ""


def block_node(body: Network, repeat: int | None, share_parameters: bool) -> network_pb2.Node:
    """A node without name and inputs that runs `body`."""
    graph = inferred(body)
    block = network_pb2.Block(body=graph, share_parameters=share_parameters)
    if repeat is not None:
        block.repeat = whole(repeat, "block.repeat")
    elif share_parameters:
        raise InvalidRequest.because(
            "only what repeats can share its parameters with itself",
            field="block.share_parameters",
            given=True,
            hint="Set repeat, or leave share_parameters out.",
        )
    return network_pb2.Node(block=block)


def inferred(network: Network) -> network_pb2.Graph:
    """The graph with nothing said of its inputs but their names, as blocks and losses want it."""
    graph = network.graph
    for one in graph.inputs:
        one.ClearField("data_type")
        one.ClearField("shape")
    return graph

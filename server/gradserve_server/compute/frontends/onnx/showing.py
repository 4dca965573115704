"""What a tape sees of a model: its nodes by their own names, then its outputs by theirs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, final

import jax

from gradserve_server.common.tracing import TURN
from gradserve_server.compute.frontends.onnx.definition import Graph, Node
from gradserve_server.compute.frontends.onnx.table import Value
from gradserve_server.compute.tape import Tape


@final
class Shown:
    """Values that a tape knows, for one evaluation.

    A value keeps its key wherever it goes, into functions and out of them: it is known by its identity.

    Args:
        tape: where to show what is computed.
        inputs: of the model, by name.
        parameters: by name.
        outputs: names that no node may have but the one that gives that output.
    """

    def __init__(
        self, tape: Tape, inputs: Mapping[str, Value], parameters: Mapping[str, Value], outputs: Sequence[str]
    ) -> None:
        self._tape = tape
        self._parameters = set(parameters)
        self._taken = {*inputs, *parameters, *outputs}
        # Values are kept, so that none gets the identity of one that is gone.
        self._keys = {id(value): (key, value) for key, value in (*inputs.items(), *parameters.items())}

    def node(self, node: Node, path: str, values: Mapping[str, Value], outputs: Sequence[Value]) -> list[Value]:
        """Shows what a node gave; `values` are those that its inputs, and graphs inside of it, can name."""
        used = [values.get(name) for name in dict.fromkeys(_names(node))]
        shown = []
        for index, value in enumerate(outputs):
            name = node.outputs[index] if index < len(node.outputs) else ""
            key = path if index == 0 and (path not in self._taken or path == name) else f"{path}:{name or index}"
            shown.append(self._value(key, node.operator, used, value))
        return shown

    def output(self, name: str, value: Value) -> Value:
        """Shows an output of the model, where no node has its name; the loss knows it by that."""
        return value if self._key(value) == name else self._value(name, "output", [value], value)

    def _value(self, key: str, operation: str, used: Sequence[Value], value: Value) -> Value:
        if not isinstance(value, jax.Array):
            return value
        if key.endswith(("@", TURN)):  # which mean something in a trace
            key += "'"
        known = self._key(value)
        # What a function or a branch gave is known already, and only handed on.
        inputs = [one for one in map(self._key, used) if one is not None] if known is None else [known]
        for one in inputs:
            if one in self._parameters:
                self._tape.parameter(one)
        value = self._tape.value(key, operation, inputs, value)
        self._keys.setdefault(id(value), (key, value))
        return value

    def _key(self, value: Value) -> str | None:
        known = self._keys.get(id(value))
        return known[0] if known is not None else None


def _names(node: Node) -> Iterator[str]:
    """Names that a node takes values by: its inputs, and what graphs inside of it take from around them."""
    yield from filter(None, node.inputs)
    for graph in node.graphs:
        yield from _free(graph)


def _free(graph: Graph) -> Iterator[str]:
    own: set[Any] = {*graph.inputs, *graph.initializers}
    for node in graph.nodes:
        yield from (name for name in _names(node) if name not in own)
        own.update(node.outputs)
    yield from (name for name in graph.outputs if name not in own)

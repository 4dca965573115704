"""A model as plain values, read once from its protobuf message."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

Opsets = Mapping[str, int]


@dataclasses.dataclass(frozen=True)
class Form:
    """What a model declares of a tensor; an axis of no known size has a name of its own."""

    dtype: str
    shape: tuple[int | str, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class Node:
    """One application of an operator or a function.

    Attributes:
        name: unique in its graph: the node's own, or that of its first output.
        domain: of the operator; empty for ONNX's own.
        operator: its name.
        overload: which of several functions of that name.
        inputs: names of values; empty where an optional one is left out.
        outputs: likewise.
        attributes: by name: int, float, str, tuples of these, arrays, `Graph`.
        references: attributes that take the value of one of the enclosing function's, by name.
    """

    name: str
    domain: str
    operator: str
    overload: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]
    references: Mapping[str, str]

    @property
    def graphs(self) -> tuple[Graph, ...]:
        """The graphs in its attributes."""
        return tuple(value for value in self.attributes.values() if isinstance(value, Graph))


@dataclasses.dataclass(frozen=True, eq=False)
class Graph:
    """Nodes in topological order.

    Attributes:
        inputs: names, without those of initializers.
        outputs: names.
        nodes: each sees the inputs, the initializers, the nodes before it, and what encloses the graph.
        initializers: arrays by name.
        forms: what is declared of inputs and outputs that are tensors, by name.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    nodes: tuple[Node, ...]
    initializers: Mapping[str, Any]
    forms: Mapping[str, Form]


@dataclasses.dataclass(frozen=True, eq=False)
class Function:
    """Nodes with a name, in opsets of their own."""

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    defaults: Mapping[str, Any]
    nodes: tuple[Node, ...]
    opsets: Opsets


# Domain, name, overload.
FunctionKey = tuple[str, str, str]


@dataclasses.dataclass(frozen=True, eq=False)
class Model:
    """A graph, and the functions that it may call."""

    graph: Graph
    functions: Mapping[FunctionKey, Function]
    opsets: Opsets

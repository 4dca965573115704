"""What can be checked of a model without shapes: names, numbers of inputs and outputs, attributes."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from typing import Any

import numpy as np

from gradserve_server.common.errors import Problem, Reason, near, shorten
from gradserve_server.compute.frontends.onnx.definition import Graph, Model, Node, Opsets
from gradserve_server.compute.frontends.onnx.schemas import schema_of

_Names = MutableMapping[str, bool]


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float))


_KINDS: Mapping[str, Callable[[Any], bool]] = {
    "INT": lambda value: isinstance(value, int),
    "FLOAT": lambda value: isinstance(value, float),
    "STRING": lambda value: isinstance(value, str),
    "TENSOR": lambda value: isinstance(value, np.ndarray),
    "GRAPH": lambda value: isinstance(value, Graph),
    "INTS": lambda value: isinstance(value, tuple) and all(isinstance(one, int) for one in value),
    "FLOATS": lambda value: isinstance(value, tuple) and all(_is_number(one) for one in value),
    "STRINGS": lambda value: isinstance(value, tuple) and all(isinstance(one, str) for one in value),
}


def check_model(model: Model) -> None:
    """Refuses a model whose nodes take what is not there, or do not fit their operators.

    Raises:
        Problem: at the first such node.
    """
    _check_graph(model.graph, ChainMap(), model.opsets, model)
    for function in model.functions.values():
        names: _Names = dict.fromkeys(function.inputs, True)
        _check_nodes(function.nodes, names, function.opsets, model)
        _check_outputs(function.outputs, names, function.name)


def _check_graph(graph: Graph, outer: _Names, opsets: Opsets, model: Model) -> None:
    names: _Names = ChainMap(dict.fromkeys((*graph.inputs, *graph.initializers), True), outer)
    _check_nodes(graph.nodes, names, opsets, model)
    _check_outputs(graph.outputs, names, "the graph")


def _check_outputs(outputs: Sequence[str], names: _Names, owner: str) -> None:
    for name in outputs:
        if name not in names:
            raise Problem(
                Reason.UNKNOWN_REFERENCE,
                f"an output of {owner} is no value in it",
                field="network",
                given=repr(shorten(name, 80)),
                hint=near(name, names),
            )


def _check_nodes(nodes: Sequence[Node], names: _Names, opsets: Opsets, model: Model) -> None:
    own: set[str] = set()
    for node in nodes:
        for name in node.inputs:
            if name and name not in names:
                raise Problem(
                    Reason.UNKNOWN_REFERENCE,
                    "it takes a value that is not there, or comes later",
                    field="network",
                    node=node.name,
                    given=repr(shorten(name, 80)),
                    hint=near(name, names),
                )
        _check_schema(node, opsets, model)
        for graph in node.graphs:
            _check_graph(graph, names, opsets, model)
        for name in node.outputs:
            if not name:
                continue
            if name in own:
                raise Problem(
                    Reason.DUPLICATE_NAME,
                    "two nodes give a value of the same name",
                    field="network",
                    node=node.name,
                    given=repr(shorten(name, 80)),
                )
            own.add(name)
            names[name] = True


def _check_schema(node: Node, opsets: Opsets, model: Model) -> None:
    if (node.domain, node.operator, node.overload) in model.functions:
        return
    schema = schema_of(node.domain, node.operator, opsets.get(node.domain, 0))
    if schema is None:
        return
    for what, count, least, most in (
        ("inputs", len(node.inputs), schema.min_input, schema.max_input),
        ("outputs", len(node.outputs), schema.min_output, schema.max_output),
    ):
        if not least <= count <= most:
            expected = str(least) if least == most else f"{least} to {most}" if most < 1 << 30 else f"at least {least}"
            raise _misfit(node, f"wrong number of {what}", str(count), expected)
    for name, value in node.attributes.items():
        attribute = schema.attributes.get(name)
        if attribute is None:
            raise _misfit(node, "the operator has no such attribute", name, ", ".join(sorted(schema.attributes)))
        fits = _KINDS.get(attribute.type.name)
        if fits is not None and not fits(value):
            raise _misfit(node, f"attribute '{name}' is of the wrong kind", repr(value), attribute.type.name)
    for name, attribute in schema.attributes.items():
        if attribute.required and name not in node.attributes and name not in node.references:
            raise _misfit(node, f"attribute '{name}' is missing", ", ".join(node.attributes) or "none", name)


def _misfit(node: Node, message: str, given: str, expected: str) -> Problem:
    return Problem(
        Reason.INVALID_NODE,
        f"{node.operator}: {message}",
        field="network",
        node=node.name,
        given=shorten(given, 100),
        expected=expected,
    )

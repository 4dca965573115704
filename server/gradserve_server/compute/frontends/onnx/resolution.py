"""What a node means: a row of the table, a function of the model, or the standard's own nodes for an operator."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from gradserve_server.common.errors import Problem, Reason, shorten
from gradserve_server.compute.frontends.onnx.definition import Function, FunctionKey, Graph, Model, Node, Opsets
from gradserve_server.compute.frontends.onnx.schemas import body_of, schema_of
from gradserve_server.compute.frontends.onnx.table import OPERATORS, Operator

_MOST_LISTED = 2000


def resolve(node: Node, model: Model, opsets: Opsets) -> Operator | Function | None:
    """What computes `node`; None if nothing here does."""
    function = model.functions.get((node.domain, node.operator, node.overload))
    return function or standard(node.domain, node.operator, opsets)


def standard(domain: str, operator: str, opsets: Opsets) -> Operator | Function | None:
    """What computes an operator that is no function of the model; None if nothing here does."""
    opset = opsets.get(domain)
    schema = None if opset is None else schema_of(domain, operator, opset)
    if opset is None or schema is None:
        return None
    return OPERATORS.get((domain, operator, schema.since_version)) or body_of(domain, operator, opset)


def check_supported(model: Model) -> None:
    """Refuses a model with operators that are not served, and names all of them with their nodes."""
    missing: dict[str, list[str]] = {}
    for node, opsets in _all_nodes(model):
        if resolve(node, model, opsets) is None:
            missing.setdefault(operator_name(node.domain, node.operator, opsets), []).append(node.name)
    if not missing:
        return
    first = min(missing)
    count = len(missing)
    raise Problem(
        Reason.UNSUPPORTED_OPERATION,
        "the model uses an operator that is not served"
        if count == 1
        else f"the model uses {count} operators that are not served",
        field="network",
        node=missing[first][0],
        given=", ".join(sorted(missing)),
        hint="GetServerInfo lists the operators that are.",
        metadata={"unsupported": listed(missing)},
    )


def listed(missing: Mapping[str, list[str]]) -> str:
    """What is missing, with the first places of each."""
    found = "; ".join(f"{name} at {', '.join(nodes[:3])}{_more(nodes)}" for name, nodes in sorted(missing.items()))
    return shorten(found, _MOST_LISTED)


def _more(nodes: list[str]) -> str:
    return f" and {len(nodes) - 3} more" if len(nodes) > 3 else ""


def operator_name(domain: str, operator: str, opsets: Opsets) -> str:
    """Domain, name and version of an operator, for people."""
    version: object = opsets.get(domain, "?")
    if isinstance(version, int):
        schema = schema_of(domain, operator, version)
        version = version if schema is None else schema.since_version
    return f"{domain or 'ai.onnx'}:{operator}:{version}"


def _all_nodes(model: Model) -> Iterator[tuple[Node, Opsets]]:
    """All nodes of the graph, of graphs in it, and of the functions that they reach."""
    seen: set[FunctionKey] = set()
    waiting: list[tuple[tuple[Node, ...], Opsets]] = [(model.graph.nodes, model.opsets)]
    while waiting:
        nodes, opsets = waiting.pop()
        for node in nodes:
            yield node, opsets
            waiting.extend((graph.nodes, opsets) for graph in node.graphs)
            key = (node.domain, node.operator, node.overload)
            function = model.functions.get(key)
            if function is not None and key not in seen:
                seen.add(key)
                waiting.append((function.nodes, function.opsets))


def count_nodes(model: Model, most: int, most_depth: int) -> int:
    """Number of nodes once all functions of the model are expanded, without expanding any.

    Raises:
        Problem: more than `most`, or functions that call each other in a circle or deeper than `most_depth`.
    """
    counted: dict[FunctionKey, int] = {}
    open_calls: list[FunctionKey] = []

    def of_nodes(nodes: tuple[Node, ...]) -> int:
        return sum(of_node(node) for node in nodes)

    def of_node(node: Node) -> int:
        inner = sum(of_graph(graph) for graph in node.graphs)
        key = (node.domain, node.operator, node.overload)
        if key not in model.functions:
            return 1 + inner
        if key in open_calls:
            raise Problem(Reason.INVALID_NETWORK, "a function calls itself", field="network", node=node.name)
        if len(open_calls) >= most_depth:
            raise Problem(
                Reason.TOO_DEEP,
                "functions call functions too deep",
                field="network",
                node=node.name,
                expected=f"at most {most_depth} deep",
            )
        if key not in counted:
            open_calls.append(key)
            counted[key] = of_nodes(model.functions[key].nodes)
            open_calls.pop()
        return 1 + inner + counted[key]

    def of_graph(graph: Graph) -> int:
        return of_nodes(graph.nodes)

    total = of_graph(model.graph)
    if total > most:
        raise Problem(
            Reason.TOO_LARGE,
            "with its functions expanded the model has too many nodes",
            field="network",
            given=str(total) if total < 1 << 60 else "more than can be told",
            expected=f"at most {most}",
        )
    return total

"""Which inputs and initializers decide shapes, and so must be known before a program is traced.

Operators say which of their inputs they need to know (a shape to reshape to, axes, a number of turns). What those are
computed from must be known as well, back to the inputs and initializers of the model, except through operators that
look at forms alone (Shape) and those that are not computed at tracing.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import final

from gradserve_server.compute.frontends.onnx.definition import Function, Graph, Model, Node, Opsets
from gradserve_server.compute.frontends.onnx.resolution import resolve
from gradserve_server.compute.frontends.onnx.table import Operator

# A node and the position of one of its inputs.
Place = tuple[Node, int]


@dataclasses.dataclass(frozen=True)
class Demand:
    """What must be known at tracing.

    Attributes:
        inputs: names of inputs.
        initializers: names of initializers of the outermost graph.
        loops: nodes of loops that give something of it, so that they must be unrolled.
    """

    inputs: frozenset[str]
    initializers: frozenset[str]
    loops: frozenset[Node]


def find_demand(model: Model, more: Iterable[Place] = ()) -> Demand:
    """What must be known at tracing; `more` are places that turned out to need it too."""
    graph = model.graph
    builder = _Builder(model, more)
    values = {name: builder.value() for name in (*graph.inputs, *graph.initializers)}
    origins = {number: name for name, number in values.items()}
    builder.nodes(graph.nodes, dict(values), model.opsets)
    reached = builder.reached()
    known = {origins[number] for number in reached if number in origins}
    loops = frozenset(node for node, numbers in builder.loops if not reached.isdisjoint(numbers))
    return Demand(frozenset(known & set(graph.inputs)), frozenset(known & set(graph.initializers)), loops)


@final
class _Builder:
    """Numbers all values of a model with its functions expanded, and notes what each is computed from."""

    def __init__(self, model: Model, more: Iterable[Place]) -> None:
        self._model = model
        self._more: dict[Node, set[int]] = {}
        for node, index in more:
            self._more.setdefault(node, set()).add(index)
        self._sources: list[set[int]] = []
        self._roots: list[int] = []
        self.loops: list[tuple[Node, list[int]]] = []

    def value(self, sources: Iterable[int | None] = ()) -> int:
        """The number of a value that is computed from `sources`."""
        self._sources.append({one for one in sources if one is not None})
        return len(self._sources) - 1

    def reached(self) -> set[int]:
        """All values that must be known."""
        found: set[int] = set()
        waiting = list(self._roots)
        while waiting:
            number = waiting.pop()
            if number not in found:
                found.add(number)
                waiting.extend(self._sources[number])
        return found

    def nodes(self, nodes: Sequence[Node], values: dict[str, int], opsets: Opsets) -> None:
        """Adds `nodes`; their outputs are added to `values`."""
        for node in nodes:
            inputs = [values.get(name) if name else None for name in node.inputs]
            self._need(inputs, self._more.get(node, ()))
            outputs = self._outputs(node, inputs, values, opsets)
            values.update({name: number for name, number in zip(node.outputs, outputs, strict=False) if name})

    def _need(self, inputs: Sequence[int | None], positions: Iterable[int]) -> None:
        for index in positions:
            number = inputs[index] if index < len(inputs) else None
            if number is not None:
                self._roots.append(number)

    def _outputs(self, node: Node, inputs: list[int | None], values: Mapping[str, int], opsets: Opsets) -> list[int]:
        meaning = resolve(node, self._model, opsets)
        if isinstance(meaning, Function):
            inner = {name: number for name, number in zip(meaning.inputs, inputs, strict=False) if number is not None}
            self.nodes(meaning.nodes, inner, meaning.opsets)
            return [inner[name] if name in inner else self.value() for name in meaning.outputs]
        graphs = {name: value for name, value in node.attributes.items() if isinstance(value, Graph)}
        match (node.domain, node.operator):
            case ("", "If") if graphs.keys() >= {"then_branch", "else_branch"}:
                return self._branches([graphs["then_branch"], graphs["else_branch"]], inputs, values, opsets)
            case ("", "Loop") if "body" in graphs:
                found = self._loop(graphs["body"], inputs, values, opsets)
                self.loops.append((node, found))
                return found
            case ("", "Scan") if "body" in graphs:
                found = self._scan(graphs["body"], inputs, values, opsets)
                self.loops.append((node, found))
                return found
        assert isinstance(meaning, Operator), "check_supported has seen it"
        self._need(inputs, meaning.static)
        sources = [one for index, one in enumerate(inputs) if index not in meaning.forms_only] if meaning.folds else []
        return [self.value(sources) for _ in node.outputs]

    def _graph(
        self, graph: Graph, inputs: Sequence[int | None], values: Mapping[str, int], opsets: Opsets
    ) -> list[int | None]:
        inner = {**values, **{name: self.value() for name in graph.initializers}}
        inner |= {name: number for name, number in zip(graph.inputs, inputs, strict=False) if number is not None}
        self.nodes(graph.nodes, inner, opsets)
        return [inner.get(name) for name in graph.outputs]

    def _branches(
        self, graphs: list[Graph], inputs: list[int | None], values: Mapping[str, int], opsets: Opsets
    ) -> list[int]:
        outputs = [self._graph(graph, (), values, opsets) for graph in graphs]
        return [self.value([*inputs, *both]) for both in zip(*outputs, strict=False)]

    def _loop(self, body: Graph, inputs: list[int | None], values: Mapping[str, int], opsets: Opsets) -> list[int]:
        turns, condition, *initial = (*inputs, None, None)[: max(2, len(inputs))]
        number = self.value([turns, condition])
        carried = [self.value([number, one]) for one in (condition, *initial)]
        outputs = self._graph(body, [number, *carried], values, opsets)
        for one, source in zip(carried, outputs, strict=False):
            if source is not None:
                self._sources[one].add(source)
        stacks = outputs[len(carried) :]
        if stacks:
            # As many turns, as long the stack.
            self._need([turns], [0])
        return [*carried[1:], *(self.value([number, one]) for one in stacks)]

    def _scan(self, body: Graph, inputs: list[int | None], values: Mapping[str, int], opsets: Opsets) -> list[int]:
        # In version 8 the lengths of sequences come first.
        inputs = inputs[-len(body.inputs) :] if body.inputs else []
        carried = [self.value([one]) for one in inputs]
        outputs = self._graph(body, carried, values, opsets)
        for one, source in zip(carried, outputs, strict=False):
            if source is not None:
                self._sources[one].add(source)
        return [self.value([*inputs, one]) for one in outputs]

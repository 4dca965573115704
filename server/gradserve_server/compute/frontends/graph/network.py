"""The native graph as a `Network`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, final

import jax
import jax.numpy as jnp

from gradserve_server.common.errors import Problem, Reason
from gradserve_server.common.specs import Limits, SymbolicSpec
from gradserve_server.compute.frontends.graph import operations
from gradserve_server.compute.frontends.graph.call import as_array
from gradserve_server.compute.frontends.graph.definition import Graph, parse, read
from gradserve_server.compute.frontends.graph.entry import Entry
from gradserve_server.compute.frontends.graph.scope import Applying, Declaring
from gradserve_server.compute.frontends.graph.walk import walk
from gradserve_server.compute.network import Arrays, Context, Network, Signature


def load_network(content: bytes, limits: Limits, field: str = "network.graph") -> GraphNetwork:
    """The network in a serialized ``Graph``.

    Raises:
        Problem: the bytes are no graph, or the graph does not hold together.
    """
    return GraphNetwork(read(parse(content, field), field, limits, operations=operations.NAMES), limits)


@final
class GraphNetwork(Network):
    """A native graph; see `Network`."""

    def __init__(self, graph: Graph, limits: Limits) -> None:
        self.graph = graph
        self.limits = limits
        self.inputs: tuple[SymbolicSpec, ...] = tuple(one.spec for one in graph.inputs if one.spec is not None)
        self.outputs = graph.outputs

    def signature(self, inputs: Mapping[str, jax.ShapeDtypeStruct], dtype: Any) -> Signature:
        scope = Declaring(Context(dtype=dtype, training=True), self.limits)

        def declare(values: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
            return self._walk(values, scope)

        for spec in self.inputs:
            shape = inputs[spec.name].shape
            if all(isinstance(size, int) for size in shape) and math.prod(shape) > self.limits.elements:
                raise Problem(
                    Reason.TOO_LARGE,
                    "the input is too large",
                    field=f"batch.{spec.name}",
                    given=str(shape),
                )
        outputs = jax.eval_shape(declare, dict(inputs))
        return Signature(scope.parameters, scope.statistics, outputs, scope.mode_path)

    def apply(self, parameters: Arrays, statistics: Arrays, inputs: Arrays, context: Context) -> dict[str, jax.Array]:
        scope = Applying(context, self.limits, parameters, statistics)
        outputs = self._walk(inputs, scope)
        context.updated_statistics |= {path: scope.statistics[path] for path in sorted(scope.updated)}
        return outputs

    def _walk(self, inputs: Mapping[str, jax.Array], scope: Applying | Declaring) -> dict[str, jax.Array]:
        dtype = scope.context.dtype
        entries = {}
        for spec in self.inputs:
            value = inputs[spec.name]
            if jnp.issubdtype(value.dtype, jnp.floating):
                value = value.astype(dtype)
            entries[spec.name] = Entry(value, True, spec.name)
        return {name: as_array(entry.value, dtype) for name, entry in walk(self.graph, entries, scope).items()}

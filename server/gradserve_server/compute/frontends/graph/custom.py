"""A graph that stands for a loss: it takes what it names, wherever that comes from."""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Mapping
from typing import final

import jax
import jax.numpy as jnp

from gradserve_server.common.errors import Problem, Reason, near
from gradserve_server.common.specs import Limits, describe
from gradserve_server.compute.frontends.graph import operations
from gradserve_server.compute.frontends.graph.call import Value, as_array
from gradserve_server.compute.frontends.graph.definition import Graph, parse, read
from gradserve_server.compute.frontends.graph.entry import Entry
from gradserve_server.compute.frontends.graph.scope import Applying, Declaring
from gradserve_server.compute.frontends.graph.walk import walk
from gradserve_server.compute.network import Context
from gradserve_server.compute.tape import Tape

# Before the names of its nodes, where they are shown beside those of the network.
LOSS_PREFIX = "loss:"


@final
class CustomGraph:
    """A graph without parameters of its own, whose types and shapes are inferred.

    Attributes:
        inputs: names that it takes.
    """

    def __init__(self, graph: Graph, limits: Limits) -> None:
        self._graph = graph
        self._limits = limits
        self.inputs = tuple(one.name for one in graph.inputs)

    @staticmethod
    def load(content: bytes, limits: Limits, field: str) -> CustomGraph:
        """The graph in a serialized ``Graph`` at `field` of the request."""
        message = parse(content, field)
        graph = read(message, field, limits, inputs_inferred=True, operations=operations.NAMES, paths_as_inputs=True)
        if len(graph.outputs) > 1:
            raise Problem(
                Reason.INVALID_LOSS,
                "a loss has one output",
                field=f"{field}.outputs",
                given=", ".join(graph.outputs),
            )
        for index, one in enumerate(graph.inputs):
            if one.spec is not None:
                raise Problem(
                    Reason.INVALID_LOSS,
                    "types and shapes of what a loss takes are inferred, not declared",
                    field=f"{field}.inputs[{index}]",
                    given=str(one.spec),
                    hint="Leave everything out but the name.",
                )
        return CustomGraph(graph, limits)

    def apply(
        self,
        outputs: Mapping[str, jax.Array],
        batch: Mapping[str, jax.Array],
        parameters: Mapping[str, jax.Array],
        context: Context,
    ) -> tuple[jax.Array, str]:
        """The graph's output, and the key by which a tape knows it.

        Each input is the output, tensor of the batch or parameter of its name, in this order.
        """
        known = {**parameters, **batch, **outputs}
        entries = {}
        for index, name in enumerate(self.inputs):
            if name not in known:
                raise Problem(
                    Reason.UNKNOWN_NAME,
                    "it is no output of the network, tensor of the batch or parameter",
                    field=f"{self._graph.field}.inputs[{index}].name",
                    given=repr(name),
                    hint=near(name, known),
                )
            value = known[name]
            if jnp.issubdtype(value.dtype, jnp.floating):
                value = value.astype(context.dtype)
            is_direct = name in batch and name not in outputs
            entries[name] = Entry(value, is_direct, self._key(name, context.tape, outputs, batch))
        self._check_pure({name: entry.value for name, entry in entries.items()}, context)
        term = "" if context.tape is None else context.tape.loss_term
        scope = Applying(
            self._own_randomness(context), self._limits, {}, {}, f"{LOSS_PREFIX}{term}:" if term else LOSS_PREFIX
        )
        found = next(iter(walk(self._graph, entries, scope).values()))
        result = as_array(found.value, context.dtype)
        if not jnp.issubdtype(result.dtype, jnp.floating):
            raise Problem(
                Reason.INVALID_LOSS,
                "a loss must be a floating-point number",
                field=self._graph.field,
                given=describe(result.dtype, result.shape),
            )
        return result, found.key

    def _own_randomness(self, context: Context) -> Context:
        """`context` with a key of this loss's own: nodes may be named as nodes of the network are."""
        if context.key is None:
            return context
        return dataclasses.replace(context, key=jax.random.fold_in(context.key, zlib.crc32(self._graph.field.encode())))

    @staticmethod
    def _key(name: str, tape: Tape | None, outputs: Mapping[str, jax.Array], batch: Mapping[str, jax.Array]) -> str:
        """By which a tape knows what the graph takes under this name."""
        if tape is None or name in outputs:
            return name
        if name in batch:
            return tape.of_batch(name)
        tape.parameter(name)
        return name

    def _check_pure(self, values: Mapping[str, Value], context: Context) -> None:
        """Refuses what a loss may not have: parameters and statistics of its own, and a mode."""
        scope = Declaring(Context(dtype=context.dtype, training=True), self._limits)

        def declare(values: Mapping[str, Value]) -> Mapping[str, Value]:
            given = {name: Entry(value, False, name) for name, value in values.items()}
            return {name: entry.value for name, entry in walk(self._graph, given, scope).items()}

        jax.eval_shape(declare, dict(values))
        for path in (*scope.parameters, *scope.statistics):
            raise Problem(
                Reason.INVALID_LOSS,
                "a loss has no parameters of its own",
                field=self._graph.field,
                node=path.rpartition("/")[0] or path,
                given=path,
                hint="Name a parameter of the network as an input of the loss.",
            )
        if scope.mode_path:
            raise Problem(
                Reason.INVALID_LOSS,
                "a loss is the same in training and in inference, and this node is not",
                field=self._graph.field,
                node=scope.mode_path,
            )

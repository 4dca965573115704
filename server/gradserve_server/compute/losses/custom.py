"""Losses of the caller's own."""

from __future__ import annotations

import dataclasses
from typing import final

import jax

from gradserve_server.common.errors import Problem, Reason
from gradserve_server.compute.calculus import bind
from gradserve_server.compute.calculus.losses import formula
from gradserve_server.compute.frontends.graph.custom import CustomGraph
from gradserve_server.compute.losses.loss import Forms, Loss, Tensors, Unreduced
from gradserve_server.compute.losses.unweighted import finite_where_unweighted
from gradserve_server.compute.losses.weighting import Weighting
from gradserve_server.compute.network import Context


@final
class Custom(Loss):
    """A graph of the caller's own.

    Args:
        graph: its output is the loss.
        weighting: how its values become one number.
        field: its path in the request.
    """

    def __init__(self, graph: CustomGraph, weighting: Weighting, field: str) -> None:
        self._graph = graph
        self._weighting = weighting
        self._field = field
        self.weights_names = weighting.names
        self.tensors = frozenset({*graph.inputs, *weighting.names})

    def unreduced(self, tensors: Tensors, context: Context) -> list[Unreduced]:
        weights = self._weighting.weights(tensors)
        if weights is not None:
            tensors = dataclasses.replace(
                tensors,
                outputs=finite_where_unweighted(tensors.outputs, weights),
                batch=finite_where_unweighted(tensors.batch, weights),
            )
        values, key = self._graph.apply(tensors.outputs, tensors.batch, tensors.parameters, context)
        if context.tape is not None:
            terms = formula("output", {}, self._weighting.factor(values))
            weights_keys = [context.tape.of_batch(name) for name in self._weighting.names]
            roles = ("prediction", "weights")[: 1 + len(weights_keys)]
            context.tape.loss((key, *weights_keys), bind(terms, roles))
        if weights is not None:
            weights = self._weighting.fit(weights, values.shape).astype(values.dtype)
        return [self._weighting.of(values, weights)]

    def target_forms(self, outputs: Forms) -> dict[str, jax.ShapeDtypeStruct]:
        unknown = sorted(set(self._graph.inputs) - set(outputs))
        if unknown:
            raise Problem(
                Reason.UNSUPPORTED_LOSS,
                "the cost of a custom loss that takes tensors of the batch is not known without them",
                field=self._field,
                given=", ".join(unknown),
            )
        return {}

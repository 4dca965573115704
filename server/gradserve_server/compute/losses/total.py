"""Several losses, weighted and added."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from typing import final

import jax
import jax.numpy as jnp

from gradserve_server.common.specs import TERM_WEIGHTS
from gradserve_server.compute.losses.loss import Arrays, Forms, Loss, LossValue, Tensors, Unreduced
from gradserve_server.compute.network import Context


@dataclasses.dataclass(frozen=True)
class Term:
    """One of several losses.

    Attributes:
        name: by which it is answered.
        loss: not a sum.
        counts: false where its weight is 0: it is there to be watched.
    """

    name: str
    loss: Loss
    counts: bool = True


@final
class Total(Loss):
    """The sum of weight * loss over its terms.

    Args:
        terms: at least one.
        field: its path in the request.
    """

    def __init__(self, terms: tuple[Term, ...], field: str) -> None:
        self._terms = terms
        self.parts = sum(term.loss.parts for term in terms)
        self._weights_place = f"{field}.{TERM_WEIGHTS}"
        self.weights_names = tuple(dict.fromkeys(name for term in terms for name in term.loss.weights_names))
        self.tensors = frozenset(name for term in terms for name in term.loss.tensors)

    @property
    def weights_of_terms(self) -> tuple[tuple[str, ...], ...]:
        return tuple(names for term in self._terms for names in term.loss.weights_of_terms)

    def unreduced(self, tensors: Tensors, context: Context) -> list[Unreduced]:
        values: list[Unreduced] = []
        for term in self._terms:
            if context.tape is not None:
                context.tape.loss_term, context.tape.loss_counts = term.name, term.counts
            values += term.loss.unreduced(tensors, context)
        return values

    def combine(self, parts: Sequence[Unreduced], vectors: Arrays) -> LossValue:
        rest = iter(parts)
        values = [term.loss.combine(list(itertools.islice(rest, term.loss.parts)), vectors) for term in self._terms]
        dtype = max((value.loss.dtype for value in values), key=lambda one: one.itemsize)
        # None are sent where all are 1.
        weights = vectors.get(self._weights_place, jnp.ones(len(values), jnp.float64)).astype(dtype)
        total = jnp.zeros((), dtype)
        for index, (term, value) in enumerate(zip(self._terms, values, strict=True)):
            # A term of weight 0 may be infinite.
            if term.counts:
                total += weights[index] * value.loss.astype(dtype)
        terms = {term.name: value.loss for term, value in zip(self._terms, values, strict=True)}
        return LossValue(total, values[0].weight_sum, terms)

    def target_forms(self, outputs: Forms) -> dict[str, jax.ShapeDtypeStruct]:
        forms: dict[str, jax.ShapeDtypeStruct] = {}
        for term in self._terms:
            forms |= term.loss.target_forms(outputs)
        return forms

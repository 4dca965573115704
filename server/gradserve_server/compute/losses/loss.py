"""What a loss is: tensors in, one number out."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from gradserve_server.common.errors import Problem, Reason, near
from gradserve_server.compute.losses.reduction import Reduction, reduce
from gradserve_server.compute.network import Context

Arrays = Mapping[str, jax.Array]
Forms = Mapping[str, jax.ShapeDtypeStruct]


@dataclasses.dataclass(frozen=True)
class Tensors:
    """What losses are computed from.

    Attributes:
        outputs: of the network, by name.
        batch: by name.
        parameters: by name.
        vectors: what is data in the loss, by its place in the request.
    """

    outputs: Arrays
    batch: Arrays
    parameters: Arrays = dataclasses.field(default_factory=dict)
    vectors: Arrays = dataclasses.field(default_factory=dict)

    def of_batch(self, name: str) -> jax.Array:
        """A tensor of the batch.

        Raises:
            Problem: there is none of this name.
        """
        if name not in self.batch:
            raise Problem(
                Reason.MISSING_TENSOR,
                "the loss takes it, and it is not in the batch",
                field=f"batch.{name}",
                given=", ".join(sorted(self.batch)) or "nothing",
                hint=near(name, self.batch),
            )
        return self.batch[name]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class LossValue:
    """What a loss came to.

    Attributes:
        loss: scalar.
        weight_sum: scalar, see `reduction.reduce`; of a sum, that of its first term, by which parts of a batch can be
            combined if all terms have the same weights.
        terms: of a sum, the terms before their weights, by name.
    """

    loss: jax.Array
    weight_sum: jax.Array
    terms: dict[str, jax.Array]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Unreduced:
    """The values of a loss, or of a term of one, before they become one number.

    Attributes:
        values: one for each element or position; the first axis counts examples.
        weights: None, or example weights that broadcast over the values.
        reduction: how they become one.
        weights_name: tensor of the batch that the weights are; empty where there are none.
        present: None, or for each of the values whether it counts; the others are of padding.
    """

    values: jax.Array
    weights: jax.Array | None
    reduction: Reduction = dataclasses.field(metadata={"static": True})
    weights_name: str = dataclasses.field(metadata={"static": True})
    present: jax.Array | None = None

    def reduced(self) -> LossValue:
        """The loss that they come to; see `reduction.reduce`."""
        return LossValue(*reduce(self.values, self.weights, self.reduction, self.present), {})


class Loss(abc.ABC):
    """A loss, checked as far as that goes without data.

    Attributes:
        stacked: whether it is many vector-Jacobian products at once, and each gradient has a first axis of vectors;
            then the loss is a `cotangents.Cotangents`.
        parts: how many arrays of values it has before they are reduced.
        weights_names: tensors of the batch used as example weights, in any term.
        tensors: names that it may take from the batch.
    """

    stacked: bool = False
    parts: int = 1
    weights_names: tuple[str, ...]
    tensors: frozenset[str]

    @property
    def weights_of_terms(self) -> tuple[tuple[str, ...], ...]:
        """Of each term the tensors of the batch that are its example weights; none where it counts all examples."""
        return (self.weights_names,)

    @abc.abstractmethod
    def unreduced(self, tensors: Tensors, context: Context) -> list[Unreduced]:
        """The values of these outputs and targets; conditions on data are left in `context.checks`.

        Raises:
            Problem: the tensors do not fit the loss.
        """

    def combine(self, parts: Sequence[Unreduced], vectors: Arrays) -> LossValue:  # noqa: ARG002 (for sums)
        """The loss that values come to which `unreduced` gave, those of all examples or of some."""
        (part,) = parts
        return part.reduced()

    def evaluate(self, tensors: Tensors, context: Context) -> LossValue:
        """The loss of these outputs and targets, as `unreduced`."""
        return self.combine(self.unreduced(tensors, context), tensors.vectors)

    @abc.abstractmethod
    def target_forms(self, outputs: Forms) -> dict[str, jax.ShapeDtypeStruct]:
        """Forms of the tensors of the batch that this loss would take for outputs of these forms.

        Raises:
            Problem: a graph of the caller's own does not say what it takes.
        """


def output_name(given: str, outputs: Iterable[str], field: str) -> str:
    """The output that a loss names: the first where it names none.

    Raises:
        Problem: there is none of this name.
    """
    known = list(outputs)
    name = given or known[0]
    if name not in known:
        raise Problem(
            Reason.UNKNOWN_NAME, "the network has no such output", field=field, given=repr(name), hint=near(name, known)
        )
    return name


def computing_type(output: Any) -> Any:
    """The type that a loss of `output` is computed in: float64 where that is, else float32."""
    return jnp.float64 if output.dtype == jnp.float64 else jnp.float32

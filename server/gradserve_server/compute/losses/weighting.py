"""What a loss as it was sent says of reduction and example weights."""

from __future__ import annotations

import dataclasses

import jax

from gradserve.v1 import loss_pb2
from gradserve_server.compute.calculus.losses import reduction
from gradserve_server.compute.losses.loss import Tensors, Unreduced
from gradserve_server.compute.losses.reduction import Reduction, fit_weights

_REDUCTIONS: dict[int, Reduction] = {
    loss_pb2.Loss.REDUCTION_UNSPECIFIED: "mean",
    loss_pb2.Loss.REDUCTION_MEAN: "mean",
    loss_pb2.Loss.REDUCTION_SUM: "sum",
    loss_pb2.Loss.REDUCTION_SUM_THEN_MEAN: "sum_then_mean",
}


@dataclasses.dataclass(frozen=True)
class Weighting:
    """How the values of a loss become one number.

    Attributes:
        reduction: which.
        name: tensor of the batch that holds the example weights; empty where there are none.
    """

    reduction: Reduction
    name: str

    @staticmethod
    def read(message: loss_pb2.Loss) -> Weighting:
        """That of a loss as it was sent."""
        return Weighting(_REDUCTIONS[message.reduction], message.example_weights)

    @property
    def names(self) -> tuple[str, ...]:
        """The name, or nothing."""
        return (self.name,) if self.name else ()

    def weights(self, tensors: Tensors) -> jax.Array | None:
        """The example weights as they were sent.

        Raises:
            Problem: they are not in the batch.
        """
        return tensors.of_batch(self.name) if self.name else None

    def fit(self, weights: jax.Array, shape: tuple[int, ...]) -> jax.Array:
        """The weights, to be broadcast over values of this shape; see `fit_weights`."""
        return fit_weights(weights, shape, f"batch.{self.name}")

    def factor(self, values: jax.Array) -> str:
        """By what the reduction multiplies or divides the derivatives of the values, as text."""
        examples = values.shape[0] if values.ndim else 1
        return reduction(self.reduction, values=values.size, examples=examples, weighted=bool(self.name))

    def of(self, values: jax.Array, weights: jax.Array | None) -> Unreduced:
        """Values that are weighed so."""
        return Unreduced(values, weights, self.reduction, self.name)

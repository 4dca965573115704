"""Training on the caller's side: gradients from the server, updates here, and a loss scale that finds its level."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, final

import numpy as np

from gradserve.errors import InvalidRequest
from gradserve.losses import Loss
from gradserve.network import Network
from gradserve.requests import Precision
from gradserve.results import GradientResult
from gradserve.tensors import Array, ArrayLike

FIRST_SCALE = 2.0**15
# A scale may rise again after so many steps in a row that were finite.
_STEADY_STEPS = 2000
_LEAST_SCALE, _MOST_SCALE = 2.0**-14, 2.0**40

Update = Callable[[dict[str, Array], Mapping[str, Array]], None]
"""Changes weights by name, given the gradients of some of them."""


class Computes(Protocol):
    """What the loop needs of a client."""

    def gradients(
        self, network: Network, weights: dict[str, Array], batch: Mapping[str, ArrayLike], *, loss: Loss, **options: Any
    ) -> GradientResult:
        """As `Client.gradients`."""


@final
@dataclass(frozen=True, slots=True)
class LocalStep:
    """What one step of `train_locally` came to.

    Attributes:
        number: counts from 1.
        loss: of the step's batch, before the update.
        skipped: whether loss or gradients were not finite, so that nothing was updated.
        loss_scale: that the next step will have; 1 where the loss is not scaled.
    """

    number: int
    loss: float
    skipped: bool
    loss_scale: float


@final
class LossScale:
    """A loss scale that is halved where gradients overflow, and doubled after 2,000 steps without.

    Source: Micikevicius et al., "Mixed precision training", 2018.

    Args:
        first: where it starts.

    Attributes:
        value: what to send as `loss_scale`.
    """

    __slots__ = ("_steady", "value")

    def __init__(self, first: float = FIRST_SCALE) -> None:
        if not _LEAST_SCALE <= first <= _MOST_SCALE:
            raise InvalidRequest.because(
                "no loss scale to start from", field="loss_scale", given=repr(first), expected="2^-14 to 2^40"
            )
        self.value = float(first)
        self._steady = 0

    def after(self, finite: bool) -> None:
        """Takes note of a step: whether its loss and gradients were finite."""
        if not finite:
            self.value, self._steady = max(self.value / 2, _LEAST_SCALE), 0
            return
        self._steady += 1
        if self._steady == _STEADY_STEPS:
            self.value, self._steady = min(self.value * 2, _MOST_SCALE), 0


def train_locally(
    client: Computes,
    network: Network,
    weights: dict[str, Array],
    batches: Iterable[Mapping[str, ArrayLike]],
    *,
    loss: Loss,
    learning_rate: float = 0.1,
    update: Update | None = None,
    precision: Precision | None = None,
    loss_scale: float = FIRST_SCALE,
    **options: Any,
) -> Iterator[LocalStep]:
    """Trains `weights` in place, a batch a step; the caller goes through the steps.

    Where loss or gradients are not finite, the step updates nothing; in float16 the loss scale is
    halved then, and training goes on.

    Example:
        >>> for step in gs.train_locally(client, net, weights, batches, loss=loss, precision="float16"):
        ...     print(step.number, step.loss)

    Args:
        client: a `Client`.
        network: the network.
        weights: by name; those with gradients are replaced after each step, as are batch statistics.
        batches: inputs and targets of each step.
        loss: the loss.
        learning_rate: of gradient descent, where there is no `update`.
        update: changes the weights by the gradients, in place of gradient descent.
        precision: of the forward pass and of the way back.
        loss_scale: with ``"float16"``, where the scale starts.
        options: further arguments of `Client.gradients`.
    """
    scale = LossScale(loss_scale) if precision == "float16" else None
    for number, batch in enumerate(batches, 1):
        if scale is not None:
            options["loss_scale"] = scale.value
        result = client.gradients(network, weights, batch, loss=loss, precision=precision, **options)
        finite = result.summary.finite and bool(np.isfinite(result.loss))
        if finite:
            if update is None:
                _descend(weights, result.gradients, learning_rate)
            else:
                update(weights, result.gradients)
            weights.update(result.updated_statistics)
        if scale is not None:
            scale.after(finite)
        yield LocalStep(number, result.loss, not finite, 1.0 if scale is None else scale.value)


def _descend(weights: dict[str, Array], gradients: Mapping[str, Array], learning_rate: float) -> None:
    for name, gradient in gradients.items():
        weights[name] = weights[name] - np.asarray(learning_rate, gradient.dtype) * gradient

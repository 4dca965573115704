"""Losses: what turns outputs and targets into one number.

`target` names a tensor of the batch, `prediction` an output of the network (the first if empty).
Nothing broadcasts in silence. Each formula gives one value for each element of the prediction, or
for each position before the class axis, and `reduction` makes one number of them:

``"mean"``
    the mean over all values, as in PyTorch.
``"sum"``
    the sum of all values.
``"sum_then_mean"``
    the sum over the values of an example, the mean over examples.

`example_weights` names a tensor w of the batch that fits the first axes of the values v. The mean
becomes sum(w v) / sum(w), the sum becomes sum(w v); what has weight 0 changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, final

from gradserve.builder import inferred
from gradserve.errors import InvalidRequest
from gradserve.network import Network
from gradserve.tensors import message_bytes
from gradserve.v1 import loss_pb2

Reduction = Literal["mean", "sum", "sum_then_mean"]

_REDUCTIONS = {
    "mean": loss_pb2.Loss.REDUCTION_MEAN,
    "sum": loss_pb2.Loss.REDUCTION_SUM,
    "sum_then_mean": loss_pb2.Loss.REDUCTION_SUM_THEN_MEAN,
}


@final
@dataclass(frozen=True, slots=True)
class Loss:
    """A loss: immutable, compared by its bytes. Made by the functions of this file and `load_loss`.

    Attributes:
        content: the serialized message of the contract.
    """

    content: bytes

    @property
    def message(self) -> loss_pb2.Loss:
        """The contract's message, a copy."""
        return loss_pb2.Loss.FromString(self.content)

    def to_bytes(self) -> bytes:
        """The serialized message, always the same for equal losses."""
        return self.content

    def __repr__(self) -> str:
        return f"Loss({self.message.WhichOneof('formula')})"


def _loss(reduction: str, example_weights: str | None, **formula: Any) -> Loss:
    if reduction not in _REDUCTIONS:
        raise InvalidRequest.because(
            "no such reduction",
            field="loss.reduction",
            given=repr(reduction),
            expected=f"one of {', '.join(_REDUCTIONS)}",
        )
    return Loss(
        message_bytes(loss_pb2.Loss(reduction=_REDUCTIONS[reduction], example_weights=example_weights or "", **formula))
    )


def softmax_cross_entropy(
    target: str,
    prediction: str = "",
    label_smoothing: float = 0.0,
    reduction: Reduction = "mean",
    example_weights: str | None = None,
) -> Loss:
    """Softmax and cross-entropy over the last axis: ``-sum(p log softmax(z))``.

    Example:
        >>> client.gradients(net, weights, {"x": x, "y": labels},
        ...                  loss=gs.softmax_cross_entropy(target="y"))

    Args:
        target: integer classes [...], or probabilities [..., classes].
        prediction: logits [..., classes].
        label_smoothing: part of the target's mass that is spread evenly.
        reduction: how values [...] become one number.
        example_weights: weights in the batch, if any.
    """
    return _loss(
        reduction,
        example_weights,
        softmax_cross_entropy=loss_pb2.Loss.SoftmaxCrossEntropy(
            prediction=prediction, target=target, label_smoothing=label_smoothing
        ),
    )


def binary_cross_entropy(
    target: str,
    prediction: str = "",
    from_logits: bool = False,
    reduction: Reduction = "mean",
    example_weights: str | None = None,
) -> Loss:
    """Cross-entropy of two classes: ``-(t log p + (1 - t) log(1 - p))``.

    Args:
        target: in [0, 1], of the prediction's shape.
        prediction: probabilities, or logits.
        from_logits: whether the predictions are logits.
        reduction: how values become one number.
        example_weights: weights in the batch, if any.
    """
    return _loss(
        reduction,
        example_weights,
        binary_cross_entropy=loss_pb2.Loss.BinaryCrossEntropy(
            prediction=prediction, target=target, from_logits=from_logits
        ),
    )


def squared_error(
    target: str,
    prediction: str = "",
    reduction: Reduction = "mean",
    example_weights: str | None = None,
) -> Loss:
    """``(prediction - target) ** 2``, without a factor of one half.

    Args:
        target: of the prediction's shape.
        prediction: any shape.
        reduction: how values become one number.
        example_weights: weights in the batch, if any.
    """
    message = loss_pb2.Loss.SquaredError(prediction=prediction, target=target)
    return _loss(reduction, example_weights, squared_error=message)


def absolute_error(
    target: str,
    prediction: str = "",
    reduction: Reduction = "mean",
    example_weights: str | None = None,
) -> Loss:
    """``abs(prediction - target)``; arguments as for `squared_error`."""
    message = loss_pb2.Loss.AbsoluteError(prediction=prediction, target=target)
    return _loss(reduction, example_weights, absolute_error=message)


def negative_log_likelihood(
    target: str,
    prediction: str = "",
    from_log: bool = False,
    reduction: Reduction = "mean",
    example_weights: str | None = None,
) -> Loss:
    """``-log p[target]``.

    Args:
        target: integer classes [...].
        prediction: probabilities [..., classes], or logarithms of them.
        from_log: whether the predictions are logarithms.
        reduction: how values [...] become one number.
        example_weights: weights in the batch, if any.
    """
    return _loss(
        reduction,
        example_weights,
        negative_log_likelihood=loss_pb2.Loss.NegativeLogLikelihood(
            prediction=prediction, target=target, from_log=from_log
        ),
    )


def output_loss(prediction: str = "", reduction: Reduction = "mean", example_weights: str | None = None) -> Loss:
    """An output of the network is the loss; reduced if it is no scalar.

    Args:
        prediction: the output.
        reduction: how values become one number.
        example_weights: weights in the batch, if any.
    """
    message = loss_pb2.Loss.Output(prediction=prediction)
    return _loss(reduction, example_weights, output=message)


def custom_loss(network: Network, reduction: Reduction = "mean", example_weights: str | None = None) -> Loss:
    """A loss of your own, computed on the server.

    Example:
        >>> graph = gs.GraphBuilder("half squared error")
        >>> error = graph.input("dense_1") - graph.input("y")
        >>> loss = gs.custom_loss(graph.build(outputs=[0.5 * error ** 2]))

    Args:
        network: its inputs name outputs of the network, tensors of the batch and parameters
            (``"dense_1/kernel"``, for penalties), the first that fits in this order; types and
            shapes are inferred, and what was declared is left out. Its output is the loss, one
            number for each example or in all. It has no parameters of its own.
        reduction: how values become one number.
        example_weights: weights in the batch, if any.
    """
    if not isinstance(network, Network):
        raise InvalidRequest.because("no network", field="loss.custom", given=repr(network), expected="a gs.Network")
    message = loss_pb2.Loss.Custom(graph=inferred(network))
    return _loss(reduction, example_weights, custom=message)


Term: TypeAlias = Loss | tuple[float, Loss]
"""A term of a sum: a loss, or its weight and a loss."""


def sum_of_losses(terms: Mapping[str, Term]) -> Loss:
    """Several losses, weighted and added: ``sum(weight * term)``.

    Each term has a reduction and example weights of its own. The answer's `terms` holds each by
    name, before its weight.

    Example:
        >>> gs.sum_of_losses({"class": gs.softmax_cross_entropy("label", "class"),
        ...                   "box": (0.1, gs.absolute_error("box", "box"))})

    Args:
        terms: name to loss, or to a pair of weight and loss. Not sums themselves.

    Raises:
        InvalidRequest: there are none, or one is no loss.
    """
    if not terms:
        raise InvalidRequest.because("the sum has no terms", field="loss.sum.terms")
    total = loss_pb2.Loss.Sum()
    for name, term in terms.items():
        weight, loss = term if isinstance(term, tuple) else (None, term)
        if not _is_term(loss):
            raise InvalidRequest.because(
                "no term of a sum",
                field=f"loss.sum.terms.{name}",
                given=repr(loss),
                expected="a loss other than a sum, or a pair of weight and loss",
            )
        total.terms.append(loss_pb2.Loss.Sum.Term(name=name, loss=loss.message, weight=weight))
    return Loss(message_bytes(loss_pb2.Loss(sum=total)))


def _is_term(loss: object) -> bool:
    return isinstance(loss, Loss) and not loss.message.HasField("sum")

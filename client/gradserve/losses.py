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
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, final

import numpy as np

from gradserve.builder import inferred
from gradserve.errors import InvalidRequest
from gradserve.network import Network
from gradserve.tensors import Array, ArrayLike, has_dtype, message_bytes, to_array
from gradserve.v1 import loss_pb2
from gradserve.wire import join, nested, tensor_map

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
        form: what of it the server compiles: losses that differ in cotangents or in weights of
            terms only are of one form, and share one compiled program.
    """

    content: bytes
    form: bytes = field(default=b"", compare=False, repr=False)

    def __post_init__(self) -> None:
        if not self.form:
            object.__setattr__(self, "form", self.content)

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


def huber_loss(
    target: str,
    prediction: str = "",
    delta: float = 1.0,
    reduction: Reduction = "mean",
    example_weights: str | None = None,
) -> Loss:
    """Squared near zero, linear beyond: outliers pull with a force of at most `delta`.

    With e = prediction - target, ``e ** 2 / 2`` where ``abs(e) <= delta``, and
    ``delta * (abs(e) - delta / 2)`` beyond (Huber, Robust estimation of a location parameter, 1964).

    Args:
        target: of the prediction's shape.
        prediction: any shape.
        delta: where it becomes linear; above 0, in the unit of the target.
        reduction: how values become one number.
        example_weights: weights in the batch, if any.

    Raises:
        InvalidRequest: `delta` is no such number.
    """
    if not delta > 0:
        raise InvalidRequest.because("not a distance", field="loss.huber.delta", given=repr(delta), expected="above 0")
    message = loss_pb2.Loss.Huber(prediction=prediction, target=target, delta=delta)
    return _loss(reduction, example_weights, huber=message)


def kullback_leibler_divergence(
    target: str,
    prediction: str = "",
    reduction: Reduction = "mean",
    example_weights: str | None = None,
) -> Loss:
    """``sum(t * (log t - prediction))`` over the last axis, where ``0 log 0`` is 0.

    "mean" is over positions, the axes before the last (PyTorch's "batchmean" for [batch, classes]).

    Args:
        target: probabilities t [..., classes].
        prediction: log-probabilities [..., classes], as `log_softmax` gives them.
        reduction: how values [...] become one number.
        example_weights: weights in the batch, if any.
    """
    message = loss_pb2.Loss.KullbackLeibler(prediction=prediction, target=target)
    return _loss(reduction, example_weights, kullback_leibler=message)


def next_token_cross_entropy(
    tokens: str,
    prediction: str = "",
    reduction: Reduction = "mean",
    example_weights: str | None = None,
) -> Loss:
    """Cross-entropy of each token but the first, given the ones before it.

    The logits at position t - 1 predict token t, so there is a value for each of the
    length - 1 positions from 1 on, and "mean" is over batch * (length - 1) of them.

    Args:
        tokens: integer tokens [batch, length]; often an input of the network as well.
        prediction: logits [batch, length, vocabulary].
        reduction: how values [batch, length - 1] become one number.
        example_weights: weights [batch], or [batch, length] where that of token t weighs its
            prediction and those of first tokens are not used. Padding has 0.
    """
    message = loss_pb2.Loss.NextToken(prediction=prediction, tokens=tokens)
    return _loss(reduction, example_weights, next_token=message)


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


def cotangents(by_output: Mapping[str, ArrayLike], stacked: bool = False) -> Loss:
    """The vector-Jacobian product: the sum of ``output * cotangent`` over outputs and elements.

    Its gradients are cotangents of outputs drawn back to parameters and inputs: those of any
    function of the outputs, whose derivatives you have, without that function being here.

    Requests that differ in the numbers of their cotangents share one compiled program.

    Example:
        >>> y = client.forward(net, weights, {"x": x}).outputs["dense_1"]
        >>> slope = derivative_of_my_own_loss(y)
        >>> client.gradients(net, weights, {"x": x}, loss=gs.cotangents({"dense_1": slope}))

    Args:
        by_output: output to an array of its shape, of a floating-point type, which the server
            converts to the output's. Outputs that are left out count for nothing, and so does
            each element whose cotangent is 0, even where it is not finite.
        stacked: each cotangent has a new first axis that counts vectors, and so have the
            gradients: many products for one forward pass (a whole Jacobian, with unit vectors).
            The loss is then the sum of all products.

    Raises:
        InvalidRequest: there are none, or one is no array.
    """
    if not by_output:
        raise InvalidRequest.because(
            "no output has a cotangent",
            field="loss.cotangents.by_output",
            given=repr(by_output),
            expected="arrays by name of an output",
        )
    arrays = {name: _cotangent(one, f"loss.cotangents.by_output.{name}") for name, one in sorted(by_output.items())}
    message = loss_pb2.Loss.Cotangents
    pieces, headers = tensor_map(message.BY_OUTPUT_FIELD_NUMBER, arrays)
    rest = message_bytes(message(stacked=stacked))
    number = loss_pb2.Loss.COTANGENTS_FIELD_NUMBER
    return Loss(join(nested(number, [*pieces, rest])), b"".join([*headers, rest]))


def _cotangent(value: ArrayLike, field: str) -> Array:
    array = to_array(value, field)
    # Numbers in lists have no type that could be meant.
    return array if has_dtype(value) or array.dtype.kind not in "iu" else array.astype(np.float64)


Term: TypeAlias = Loss | tuple[float, Loss]
"""A term of a sum: a loss, or its weight and a loss."""


def sum_of_losses(terms: Mapping[str, Term]) -> Loss:
    """Several losses, weighted and added: ``sum(weight * term)``.

    Each term has a reduction and example weights of its own. The answer's `terms` holds each by
    name, before its weight. A term of weight 0 is computed and not differentiated. Sums that differ
    in weights other than 0 share one compiled program, so weights may change from step to step.

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
    message = loss_pb2.Loss(sum=total)
    return Loss(message_bytes(message), message_bytes(_form(message)))


def _form(message: loss_pb2.Loss) -> loss_pb2.Loss:
    """A sum without what is data in it."""
    form = loss_pb2.Loss()
    form.CopyFrom(message)
    for term in form.sum.terms:
        if term.weight:
            term.ClearField("weight")
        for tensor in term.loss.cotangents.by_output.values():
            tensor.ClearField("data")
    return form


def _is_term(loss: object) -> bool:
    return isinstance(loss, Loss) and not loss.message.HasField("sum")

"""What `trace` answers: every value of a forward and backward pass, and how gradients flow through it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, final

import numpy as np

from gradserve.errors import InvalidRequest
from gradserve.results import Timing, parse, read_timing
from gradserve.tensors import Array, from_data_type, from_tensor
from gradserve.v1 import gradient_service_pb2 as service_pb2

Verdict = Literal["healthy", "vanishing", "exploding", "non_finite", "disconnected", "unspecified"]

_Flow = service_pb2.GradientFlow
_VERDICTS: dict[int, Verdict] = {
    _Flow.VERDICT_HEALTHY: "healthy",
    _Flow.VERDICT_VANISHING: "vanishing",
    _Flow.VERDICT_EXPLODING: "exploding",
    _Flow.VERDICT_NON_FINITE: "non_finite",
    _Flow.VERDICT_DISCONNECTED: "disconnected",
}


@final
@dataclass(frozen=True, slots=True)
class TensorStatistics:
    """What a tensor looks like; all but the last two is told of its finite elements.

    Attributes:
        dtype: element type.
        shape: size of each axis.
        mean: mean.
        standard_deviation: standard deviation.
        minimum: smallest element.
        maximum: largest element.
        norm: Euclidean norm.
        root_mean_square: root mean square.
        zero_fraction: part of the elements that is exactly zero.
        non_finite: number of elements that are infinite or not a number.
    """

    dtype: np.dtype
    shape: tuple[int, ...]
    mean: float
    standard_deviation: float
    minimum: float
    maximum: float
    norm: float
    root_mean_square: float
    zero_fraction: float
    non_finite: int


@final
@dataclass(frozen=True, slots=True, eq=False)
class TracedValue:
    """One value of the pass: an input, a parameter, a target or the result of a node.

    Attributes:
        name: its name; in repeated blocks layer by layer, as ``block/3/node``.
        operation: what computed it, such as ``"dense"`` or ``"relu"``; ``"input"``, ``"parameter"`` or ``"target"``.
        inputs: names of the values that it was computed from.
        value: statistics of the value.
        gradient: statistics of the gradient of the loss with respect to it; None where there is none.
        value_tensor: the value itself, if it is small enough.
        gradient_tensor: the gradient itself, if it is small enough.
        chain_rule: how the gradient comes about, such as ``"dL/dw2 = dL/dz2 * h1 = -0.371 * 1.1 = -0.408"``.
    """

    name: str
    operation: str
    inputs: tuple[str, ...]
    value: TensorStatistics
    gradient: TensorStatistics | None
    value_tensor: Array | None
    gradient_tensor: Array | None
    chain_rule: str


@final
@dataclass(frozen=True, slots=True)
class GradientFlow:
    """How gradients flow from the loss back to the inputs.

    Attributes:
        verdict: ``"healthy"``, ``"vanishing"``, ``"exploding"``, ``"non_finite"`` or ``"disconnected"``.
        factor_per_layer: by how much the size of the gradient changes from a layer to the one before it.
        places: where it breaks down, in backward order.
        advice: what to try.
    """

    verdict: Verdict
    factor_per_layer: float
    places: tuple[str, ...]
    advice: tuple[str, ...]


@final
@dataclass(frozen=True, slots=True, eq=False)
class TraceResult:
    """An explained forward and backward pass.

    ``result["dense_1/kernel"]`` is the value of that name; iterating gives all in forward order.

    Attributes:
        loss: the loss.
        values: inputs, parameters and nodes in forward order.
        flow: how gradients flow.
        timing: where the time went.
    """

    loss: float
    values: tuple[TracedValue, ...]
    flow: GradientFlow
    timing: Timing

    def __getitem__(self, name: str) -> TracedValue:
        for value in self.values:
            if value.name == name:
                return value
        raise InvalidRequest.because("no such value", field="name", given=repr(name), expected="a name of `values`")

    def __iter__(self) -> Iterator[TracedValue]:
        return iter(self.values)

    def __len__(self) -> int:
        return len(self.values)


def read_trace(content: bytes) -> TraceResult:
    """The answer to Trace."""
    answer = parse(service_pb2.TraceResponse, content)
    return TraceResult(
        loss=answer.loss,
        values=tuple(map(_value, answer.values)),
        flow=GradientFlow(
            verdict=_VERDICTS.get(answer.flow.verdict, "unspecified"),
            factor_per_layer=answer.flow.factor_per_layer,
            places=tuple(answer.flow.places),
            advice=tuple(answer.flow.advice),
        ),
        timing=read_timing(answer.timing),
    )


def _value(message: service_pb2.TracedValue) -> TracedValue:
    return TracedValue(
        name=message.name,
        operation=message.operation,
        inputs=tuple(message.inputs),
        value=_statistics(message.value),
        gradient=_statistics(message.gradient) if message.HasField("gradient") else None,
        value_tensor=from_tensor(message.value_tensor) if message.HasField("value_tensor") else None,
        gradient_tensor=from_tensor(message.gradient_tensor) if message.HasField("gradient_tensor") else None,
        chain_rule=message.chain_rule,
    )


def _statistics(message: service_pb2.TensorStatistics) -> TensorStatistics:
    return TensorStatistics(
        dtype=from_data_type(message.data_type) or np.dtype(np.void),
        shape=tuple(message.shape),
        mean=message.mean,
        standard_deviation=message.standard_deviation,
        minimum=message.minimum,
        maximum=message.maximum,
        norm=message.norm,
        root_mean_square=message.root_mean_square,
        zero_fraction=message.zero_fraction,
        non_finite=message.non_finite,
    )

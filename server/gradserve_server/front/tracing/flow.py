"""What the gradients of a trace say about how they flow."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np

from gradserve.v1 import gradient_service_pb2 as service
from gradserve_server.common.tracing import STATISTICS, Instance
from gradserve_server.front.tracing.values import Values

Verdict = Literal["healthy", "vanishing", "exploding", "non_finite", "disconnected"]

VERDICTS: Mapping[Verdict, service.GradientFlow.Verdict] = {
    "healthy": service.GradientFlow.VERDICT_HEALTHY,
    "vanishing": service.GradientFlow.VERDICT_VANISHING,
    "exploding": service.GradientFlow.VERDICT_EXPLODING,
    "non_finite": service.GradientFlow.VERDICT_NON_FINITE,
    "disconnected": service.GradientFlow.VERDICT_DISCONNECTED,
}


@dataclasses.dataclass(frozen=True)
class Flow:
    """See `GradientFlow` of the contract."""

    verdict: Verdict
    factor_per_layer: float
    places: tuple[str, ...]
    advice: tuple[str, ...]


Row = Callable[[Instance], np.ndarray[Any, Any]]


def judge(values: Values, _value_row: Row, gradient_row: Row) -> Flow:
    """The verdict on a trace."""
    bad = [
        one.name
        for one in reversed(values.all)
        if one.site.gradient_row >= 0 and gradient_row(one)[STATISTICS.index("non_finite")]
    ]
    if bad:
        return Flow("non_finite", float("nan"), tuple(bad[:10]), ())
    cut = [one.name for one in reversed(values.all) if one.site.operation == "parameter" and not one.site.connected]
    if cut:
        return Flow("disconnected", 1.0, tuple(cut[:10]), ())
    return Flow("healthy", 1.0, (), ())

"""The verdict of a trace on networks whose gradients are known to flow well or badly."""

from __future__ import annotations

import math

import numpy as np
import pytest

import gradserve as gs
from tests.e2e.flows import CASES, EXAMPLES, WIDTH, Case, normal


def traced(client: gs.Client, case: Case) -> gs.TraceResult:
    weights = dict(client.initialize(case.network, 0))
    for ending, change in case.weights.items():
        weights |= {name: change(value) for name, value in weights.items() if name.endswith(ending)}
    batch = {"x": normal(EXAMPLES, WIDTH) if case.x is None else case.x}
    if case.y is not None:
        batch["y"] = np.full((len(batch["x"]), 4), case.y, np.float32) if isinstance(case.y, float) else case.y
    return client.trace(case.network, weights, batch, loss=case.loss, mode=case.mode, whole_tensors_up_to=0)


# One of each verdict and cause; the others take as long to compile, and run with the long tests.
OFTEN = {
    "100 sigmoid layers, whose first gradients are exactly 0",
    "dead relus",
    "a recurrent network over 200 steps",
    "an exponential that overflows",
    "data with a hole",
}


@pytest.mark.parametrize(
    "case",
    [pytest.param(case, id=name, marks=() if name in OFTEN else pytest.mark.long) for name, case in CASES.items()],
)
def test_the_verdict_is_right_and_says_where_and_what_to_do(client: gs.Client, case: Case) -> None:
    flow = traced(client, case).flow
    told = f"{flow}"
    assert flow.verdict == case.verdict, told
    assert any(case.place in place for place in flow.places) if case.place else not flow.places, told
    assert any(case.advice in line for line in flow.advice) if case.advice else True, told
    if case.verdict == "healthy":
        assert 0.1 < flow.factor_per_layer < 10, told
        assert bool(flow.advice) == bool(case.advice), told
    elif case.verdict == "non_finite":
        assert math.isnan(flow.factor_per_layer)
    else:
        assert flow.advice, told

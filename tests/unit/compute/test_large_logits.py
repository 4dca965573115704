"""Softmax of logits so large that the rounding of one is more than the exponential function takes."""

from __future__ import annotations

import numpy as np
import pytest

import gradserve as gs
from gradserve_server.common.specs import Options, Precision, Selection
from tests.unit.compute.programs import compute, weights_of

X = np.random.default_rng(0).normal(size=(2, 8, 12)).astype(np.float32)


def scaled(*layers: gs.Layer) -> gs.Network:
    """Logits that are products, which the processor adds to another number before it rounds them."""
    graph = gs.GraphBuilder()
    y = graph.input("x", "batch", 8, 12) * 1.3
    for layer in layers:
        y = graph.add(layer, y)
    return graph.build([y])


LOSSES = {"squared_error": (gs.squared_error("y"), X), "cross_entropy": (gs.softmax_cross_entropy("y"), abs(X))}
# An attention with heads of three features divides by their root, so multiplies.
NETWORKS = {
    "attention": (gs.sequential(gs.attention(heads=4), x=("batch", 8, 12)), "squared_error"),
    "softmax": (scaled(gs.softmax()), "squared_error"),
    "log_softmax": (scaled(gs.log_softmax()), "squared_error"),
    "cross_entropy": (scaled(), "cross_entropy"),
}


@pytest.mark.parametrize(
    ("name", "precision"),
    [*((name, Precision.FULL) for name in NETWORKS), ("attention", Precision.BFLOAT16)],
    ids=lambda one: getattr(one, "value", one),
)
def test_loss_and_gradients_are_finite(name: str, precision: Precision) -> None:
    network, kind = NETWORKS[name]
    loss, target = LOSSES[kind]
    batch = {"x": X * np.float32(1.6e5 if name == "attention" else 1e11), "y": target / target.sum(-1, keepdims=True)}
    weights = weights_of(network, dtype=np.float32)
    how = {"options": Options(precision=precision), "selection": Selection(inputs=("x",))}
    found = compute("gradients", network, weights, batch, loss, **how)
    assert np.isfinite(found["numbers"]["loss"])
    assert all(np.all(np.isfinite(one)) for one in found["input_gradient"].values())

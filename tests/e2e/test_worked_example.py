"""y = sigmoid(w2 relu(w1 x + b1) + b2), x=2, w1=0.5, b1=0.1, w2=0.3, b2=0.2, target 1, loss = -log(y), in float64.

By hand: z1 = 0.5 * 2 + 0.1 = 1.1, h1 = 1.1, z2 = 0.3 * 1.1 + 0.2 = 0.53, y = 1 / (1 + exp(-0.53)).
With dL/dz2 = y - 1 the chain rule gives dL/dw2 = (y - 1) h1, dL/db2 = y - 1, dL/dw1 = (y - 1) w2 x,
dL/db1 = (y - 1) w2 and dL/dx = (y - 1) w2 w1.
"""

from __future__ import annotations

import math

import numpy as np
import pytest

import gradserve as gs

Y = 1 / (1 + math.exp(-0.53))
EXACT = {
    "w2": (Y - 1) * 1.1,
    "b2": Y - 1,
    "w1": (Y - 1) * 0.3 * 2,
    "b1": (Y - 1) * 0.3,
}
ROUNDED = {"w2": -0.408, "b2": -0.371, "w1": -0.222, "b1": -0.111}


def network() -> gs.Network:
    graph = gs.GraphBuilder("worked_example")
    x = graph.input("x", "batch", dtype="float64")
    w1, b1, w2, b2 = (graph.parameter(name, shape=()) for name in ("w1", "b1", "w2", "b2"))
    z1 = w1 * x + b1
    h1 = graph.add(gs.relu(), z1, name="h1")
    z2 = w2 * h1 + b2
    y = graph.add(gs.sigmoid(), z2, name="y")
    return graph.build(outputs=[y, h1, z1, z2])


@pytest.mark.parametrize("isolation", ["client", "client_in_process"])
def test_value_loss_and_gradients_are_exact(isolation: str, request: pytest.FixtureRequest) -> None:
    client: gs.Client = request.getfixturevalue(isolation)
    net = network()
    weights = {name: np.float64(value) for name, value in (("w1", 0.5), ("b1", 0.1), ("w2", 0.3), ("b2", 0.2))}
    batch = {"x": np.array([2.0]), "target": np.array([1.0])}
    names = client.describe(net).outputs
    result = client.gradients(
        net,
        weights,
        batch,
        loss=gs.binary_cross_entropy(target="target"),
        inputs=["x"],
        outputs=[one.name for one in names],
    )
    values = [result.outputs[one.name] for one in names]
    np.testing.assert_allclose(np.concatenate(values), [Y, 1.1, 1.1, 0.53], rtol=0, atol=1e-12)
    assert result.loss == pytest.approx(-math.log(Y), abs=1e-12)
    for name, exact in EXACT.items():
        assert result.gradients[name].dtype == np.float64
        assert float(result.gradients[name]) == pytest.approx(exact, abs=1e-12)
        assert float(result.gradients[name]) == pytest.approx(ROUNDED[name], abs=5e-4)
    assert float(result.input_gradients["x"][0]) == pytest.approx((Y - 1) * 0.3 * 0.5, abs=1e-12)
    assert round(Y, 6) == 0.629483
    norm = math.sqrt(sum(value**2 for value in EXACT.values()))
    assert result.summary.global_norm == pytest.approx(norm, abs=1e-12)
    assert result.summary.finite

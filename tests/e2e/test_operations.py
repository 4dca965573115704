"""Operations as the SDK writes them, through a real server: gradients against differences of served losses."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

import gradserve as gs

GENERATOR = np.random.default_rng(0)


def assert_directional_derivative(
    client: gs.Client, net: gs.Network, batch: Mapping[str, np.ndarray], loss: gs.Loss
) -> None:
    """Along a random direction of all weights at once, in float64."""
    weights = {one.name: GENERATOR.normal(0.0, 0.5, one.shape) for one in client.describe(net).parameters}
    direction = {name: GENERATOR.normal(size=value.shape) for name, value in weights.items()}
    found = client.gradients(net, weights, batch, loss=loss)
    step = 1e-6
    ahead, behind = (
        client.gradients(
            net, {name: weights[name] + side * step * direction[name] for name in weights}, batch, loss=loss
        ).loss
        for side in (1, -1)
    )
    expected = sum(np.sum(found.gradients[name] * direction[name]) for name in weights)
    np.testing.assert_allclose((ahead - behind) / (2 * step), expected, rtol=1e-6)


def test_a_network_of_attention_recurrence_and_moved_axes(client: gs.Client) -> None:
    graph = gs.GraphBuilder("everything")
    tokens = graph.input("tokens", "batch", "length", dtype="int32")
    mask = graph.input("mask", "batch", "length", dtype="bool")
    positions = graph.add(gs.embedding(8, 4), graph.add(gs.arange(axis=1), tokens))
    x = graph.add(gs.embedding(9, 4), tokens) + positions
    x += graph.add(gs.attention(2, 1, causal=True, masked=True), x, mask)
    split = graph.add(gs.rearrange("b l (g d) -> b g l d", g=2), x)
    scores = graph.add(gs.einsum("bgid,bgjd->bgij"), split, split)
    best = graph.add(gs.top_k(2), scores)
    shifted = graph.add(gs.pad([0, 1, 0], [0, -1, 0]), x)
    last = graph.add(gs.gru(3, last_only=True, masked=True), x + shifted, mask)
    hidden = last * graph.add(gs.cumulative_sum(-1), last)
    positive = graph.add(gs.greater(), hidden, graph.constant(0.0))
    hidden = graph.add(gs.select(), positive, hidden, 0.1 * hidden)
    summed = graph.add(gs.reduce_sum([1, 2, 3], keep_axes=True), best)
    flat = graph.add(gs.reshape(0, 1), summed)
    net = graph.build([graph.add(gs.dense(1), graph.concatenate([hidden, flat]), name="y")])
    batch = {
        "tokens": np.array([[1, 2, 3, 4], [5, 6, 0, 0], [8, 0, 0, 0]], np.int32),
        "mask": np.array([[1, 1, 1, 1], [1, 1, 0, 0], [1, 0, 0, 0]], bool),
        "t": np.array([[0.3], [-1.0], [2.0]]),
    }
    assert_directional_derivative(client, net, batch, gs.squared_error(target="t"))
    (output,) = client.describe(net).outputs
    assert output.shape == ("batch", 1)


def test_a_loss_of_second_derivatives_of_the_network(client: gs.Client) -> None:
    """u'' + u at points x, and u(0) = 1: physics-informed, with derivatives of derivatives of a block."""
    body = gs.sequential(gs.dense(5), gs.tanh(), gs.dense(1))
    slope = gs.GraphBuilder()
    inside = slope.input("x")
    u = slope.block(body, inside, name="u")
    u_x = slope.tangent(u, 1.0, name="u_x")
    first = slope.build([u_x, u])

    graph = gs.GraphBuilder("oscillator")
    x = graph.input("x", "batch", 1, dtype="float64")
    slopes = graph.block(first, x, name="slope")
    residual = graph.tangent(slopes, 1.0, name="u_xx") + graph.output_of(slopes, "u")
    start = graph.add(gs.slice_axis(0, 0, 1), graph.output_of(slopes, "u")) - 1.0
    outputs = [graph.add(gs.square(), residual, name="squared"), graph.add(gs.square(), start, name="start")]
    net = graph.build(outputs)
    loss = gs.sum_of_losses(
        {"inside": gs.output_loss("squared"), "boundary": (10.0, gs.output_loss("start", reduction="sum"))}
    )
    batch = {"x": np.linspace(0.0, 2.0, 6)[:, None]}
    assert_directional_derivative(client, net, batch, loss)

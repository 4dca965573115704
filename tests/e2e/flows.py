"""Networks with a label: how gradients flow through them, known from how they are built."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

import gradserve as gs

Arrays = dict[str, Any]
WIDTH, EXAMPLES = 16, 8


@dataclasses.dataclass(frozen=True)
class Case:
    """A network, and what a trace must say of it.

    Attributes:
        network: the network; its input is `x`.
        verdict: the verdict.
        place: part of the name of a place where it breaks down; none if empty.
        advice: part of what is to be tried; none if empty.
        loss: the loss; squared error to `y` unless said otherwise.
        x: the input; standard normal numbers [EXAMPLES, WIDTH] unless said otherwise.
        y: the target; a number stands for [examples, 4] of it, None for no target.
        weights: changes of fresh weights, by the end of their names.
        mode: of the pass.
    """

    network: gs.Network
    verdict: str
    place: str = ""
    advice: str = ""
    loss: gs.Loss = gs.squared_error(target="y")  # noqa: RUF009 (frozen)
    x: Any = None
    y: Any = 0.0
    weights: Mapping[str, Callable[[Any], Any]] = dataclasses.field(default_factory=dict)
    mode: str | None = None


def normal(*shape: int, seed: int = 0, dtype: str = "float32") -> Any:
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def deep(*layers: gs.Layer, turns: int, last: int = 4) -> gs.Network:
    """Layers of one width again and again, then a dense one."""
    return gs.sequential(gs.repeat(list(layers), turns), gs.dense(last), x=("batch", WIDTH))


def scaled(factor: float) -> gs.Initializer:
    """Of kernels that multiply the root mean square of gradients by this, where all is linear."""
    return gs.normal(factor / np.sqrt(WIDTH))


def transformer_block(*, normalized: bool, residual: bool = True) -> list[gs.Layer]:
    norm = [gs.layer_normalization()] if normalized else []
    mixing = [*norm, gs.attention(2)]
    widening = [*norm, gs.dense(32, kernel_initializer=gs.he_normal()), gs.relu(), gs.dense(WIDTH)]
    if not residual:
        return [*mixing, *widening]
    return [gs.residual(*mixing), gs.residual(*widening)]


def transformer(turns: int, *, normalized: bool, residual: bool = True) -> gs.Network:
    block = transformer_block(normalized=normalized, residual=residual)
    end = [gs.layer_normalization()] if normalized else []
    return gs.sequential(gs.repeat(block, turns), *end, gs.dense(4), x=("batch", 6, WIDTH))


def convolutional(turns: int, *layers: gs.Layer) -> gs.Network:
    return gs.sequential(
        gs.convolution(8, 3, name="first"),
        gs.repeat(list(layers), turns),
        gs.global_mean_pooling(),
        gs.dense(4),
        x=("batch", 8, 8, 3),
    )


def two_heads() -> gs.Network:
    graph = gs.GraphBuilder()
    h = graph.add(gs.dense(WIDTH, name="trunk"), graph.input("x", "batch", WIDTH))
    used = graph.add(gs.dense(4, name="used"), h)
    return graph.build(outputs=[used, graph.add(gs.dense(4, name="unused"), h)])


def stopped() -> gs.Network:
    return gs.sequential(gs.dense(WIDTH, name="behind"), gs.stop_gradient(name="wall"), gs.dense(4), x=("batch", WIDTH))


def chosen() -> gs.Network:
    """A classifier whose loss sees the classes that it chose, and not how sure it was."""
    graph = gs.GraphBuilder()
    h = graph.add(gs.dense(WIDTH, name="scores"), graph.input("x", "batch", WIDTH))
    places = graph.add(gs.top_k(2, indices=True, name="best"), h)
    return graph.build(outputs=[graph.add(gs.dense(4), graph.add(gs.cast("float32"), places))])


def with_a_dead_branch() -> gs.Network:
    graph = gs.GraphBuilder()
    h = graph.add(gs.dense(WIDTH), graph.input("x", "batch", WIDTH))
    branch = graph.add(gs.relu(name="dead"), graph.add(gs.dense(WIDTH, name="before"), h))
    return graph.build(outputs=[graph.add(gs.dense(4), h + graph.add(gs.dense(WIDTH), branch))])


def short_and_long() -> gs.Network:
    """Two ways from the input: through 1 layer, and through 60 that fade."""
    graph = gs.GraphBuilder()
    x = graph.input("x", "batch", WIDTH)
    long = graph.add(gs.repeat([gs.dense(WIDTH), gs.sigmoid()], 60, name="long"), x)
    return graph.build(outputs=[graph.add(gs.dense(4), long) + graph.add(gs.dense(4), x)])


def recurrent_by_hand(turns: int, factor: float) -> gs.Network:
    """h = tanh(W h) with the same W each time."""
    body = [gs.dense(WIDTH, kernel_initializer=scaled(factor)), gs.tanh()]
    return gs.sequential(gs.repeat(body, turns, share_parameters=True, name="steps"), gs.dense(4), x=("batch", WIDTH))


def reader(layer: gs.Layer) -> gs.Network:
    return gs.sequential(layer, gs.dense(4), x=("batch", "time", 3))


def logarithm() -> gs.Network:
    return gs.sequential(gs.dense(4), gs.relu(name="none"), gs.log(name="ln"), x=("batch", WIDTH))


def to(value: float) -> Callable[[Any], Any]:
    return lambda weights: np.full_like(weights, value)


def times(factor: float) -> Callable[[Any], Any]:
    return lambda weights: (weights * factor).astype(weights.dtype)


def eye(factor: float) -> Callable[[Any], Any]:
    """The same multiple of the identity for each gate."""
    return lambda weights: np.tile(np.eye(len(weights), dtype=weights.dtype) * factor, weights.shape[1] // len(weights))


SEQUENCE = normal(4, 200, 3)
TOKENS = np.zeros((4, 6, 4), np.float32)
HE = {"kernel_initializer": gs.he_normal()}
CASES = {
    # Vanishing.
    "100 sigmoid layers, whose first gradients are exactly 0": Case(
        deep(gs.dense(WIDTH), gs.sigmoid(), turns=100), "vanishing", "block_1/9", "sigmoid"
    ),
    "12 sigmoid layers": Case(deep(gs.dense(WIDTH), gs.sigmoid(), turns=12), "vanishing", "block_1/", "sigmoid"),
    "20 linear layers with small weights": Case(
        deep(gs.dense(WIDTH, kernel_initializer=scaled(0.5)), turns=20), "vanishing", "dense_1", "are small"
    ),
    "40 relu layers that nothing makes up for": Case(
        deep(gs.dense(WIDTH), gs.relu(), turns=40), "vanishing", "block_1/", "He's"
    ),
    "a tanh far from 0": Case(
        gs.sequential(gs.dense(WIDTH), gs.tanh(name="flat"), gs.dense(4), x=("batch", WIDTH)),
        "vanishing",
        "flat",
        "flat",
        weights={"dense_1/bias": to(15.0)},
    ),
    "a sigmoid at its end that is flat": Case(
        gs.sequential(gs.dense(4), gs.sigmoid(name="end"), x=("batch", WIDTH)),
        "vanishing",
        "end",
        "sigmoid",
        weights={"bias": to(20.0)},
    ),
    "dead relus": Case(
        gs.sequential(gs.dense(WIDTH), gs.relu(name="dead"), gs.dense(4), x=("batch", WIDTH)),
        "vanishing",
        "dead",
        "leaky_relu",
        y=1.0,
        weights={"dense_1/bias": to(-100.0)},
    ),
    "a dead relu at its end": Case(
        gs.sequential(gs.dense(WIDTH), gs.dense(4), gs.relu(name="dead"), x=("batch", WIDTH)),
        "vanishing",
        "dead",
        "leaky_relu",
        y=1.0,
        weights={"dense_2/bias": to(-100.0)},
    ),
    "convolutions with sigmoids": Case(
        convolutional(16, gs.convolution(8, 3), gs.sigmoid()), "vanishing", "block_1/", "sigmoid", x=normal(4, 8, 8, 3)
    ),
    "a deep way beside a short one": Case(short_and_long(), "vanishing", "long/", "sigmoid"),
    "a recurrent network over 200 steps": Case(
        reader(gs.simple_recurrent(WIDTH, last_only=True, name="cell")),
        "vanishing",
        "cell",
        "LSTM",
        x=SEQUENCE,
        weights={"recurrent_kernel": eye(0.9)},
    ),
    "an LSTM over 200 steps that forgets": Case(
        reader(gs.lstm(WIDTH, last_only=True, name="cell")), "vanishing", "cell", "forget gate", x=SEQUENCE
    ),
    "a recurrence of 200 turns by hand": Case(recurrent_by_hand(200, 0.7), "vanishing", "steps/"),
    # Exploding.
    "60 linear layers with large weights": Case(
        deep(gs.dense(WIDTH, kernel_initializer=scaled(1.5)), turns=60), "exploding", "dense_1", "are large"
    ),
    "3 layers with very large weights": Case(
        gs.sequential(gs.dense(64), gs.relu(), gs.dense(64), gs.relu(), gs.dense(4), x=("batch", WIDTH)),
        "exploding",
        "dense_",
        "are large",
        weights={"kernel": times(100.0)},
    ),
    "residuals without normalization": Case(
        deep(gs.residual(gs.dense(WIDTH, **HE), gs.relu(), gs.dense(WIDTH)), turns=40),
        "exploding",
        "block_1/",
        "residual",
    ),
    "convolutions with large kernels": Case(
        convolutional(20, gs.convolution(8, 3, kernel_initializer=gs.normal(0.35)), gs.relu()),
        "exploding",
        "block_1/",
        "are large",
        x=normal(4, 8, 8, 3),
    ),
    "a transformer without normalization": Case(
        transformer(12, normalized=False),
        "exploding",
        "block_1/",
        "Normalize what residual branches take",
        x=normal(4, 6, WIDTH),
        y=TOKENS,
    ),
    "a recurrent network over 200 steps that grows": Case(
        reader(gs.simple_recurrent(WIDTH, name="cell")),
        "exploding",
        "cell",
        "Clip",
        y=None,
        loss=gs.cotangents({"dense_1": np.eye(200, dtype=np.float32)[None, :, -1:] * np.ones((4, 1, 4), np.float32)}),
        x=SEQUENCE * 1e-12,
        weights={"recurrent_kernel": eye(1.1)},
    ),
    "a recurrence of 30 turns by hand that grows": Case(
        recurrent_by_hand(30, 3.0), "exploding", "steps/", x=normal(EXAMPLES, WIDTH) * np.float32(1e-20)
    ),
    # Healthy.
    "one layer": Case(gs.sequential(gs.dense(4), x=("batch", WIDTH)), "healthy"),
    "a perceptron": Case(
        gs.sequential(gs.dense(32), gs.relu(), gs.dense(4), x=("batch", WIDTH)),
        "healthy",
        y=np.array([0, 1, 2, 3] * 2),
        loss=gs.softmax_cross_entropy(target="y"),
    ),
    "30 relu layers with He's initialization": Case(deep(gs.dense(WIDTH, **HE), gs.relu(), turns=30), "healthy"),
    "20 tanh layers": Case(deep(gs.dense(WIDTH), gs.tanh(), turns=20), "healthy"),
    "100 layers with residuals and normalization": Case(
        deep(gs.residual(gs.layer_normalization(), gs.dense(WIDTH), gs.sigmoid()), turns=100), "healthy"
    ),
    "a convolutional network": Case(
        convolutional(6, gs.convolution(8, 3, **HE), gs.relu()), "healthy", x=normal(4, 8, 8, 3)
    ),
    "convolutions with batch normalization": Case(
        convolutional(20, gs.convolution(8, 3), gs.batch_normalization(), gs.relu()),
        "healthy",
        x=normal(4, 8, 8, 3),
        mode="training",
    ),
    "a transformer": Case(transformer(12, normalized=True), "healthy", x=normal(4, 6, WIDTH), y=TOKENS),
    "an LSTM over 20 steps": Case(
        reader(gs.lstm(WIDTH, name="cell")), "healthy", x=SEQUENCE[:, :20], y=np.zeros((4, 20, 4), np.float32)
    ),
    "a recurrent network over 200 steps that keeps": Case(
        reader(gs.simple_recurrent(WIDTH, last_only=True, name="cell")),
        "healthy",
        x=SEQUENCE * np.float32(1e-3),
        weights={"recurrent_kernel": eye(1.0)},
    ),
    "a sure classifier of probabilities": Case(
        gs.sequential(gs.dense(1), gs.sigmoid(), x=("batch", WIDTH)),
        "healthy",
        loss=gs.binary_cross_entropy(target="y"),
        y=np.ones((EXAMPLES, 1), np.float32),
        weights={"bias": to(-12.0)},
    ),
    "a loss at its minimum": Case(
        gs.sequential(gs.dense(4), x=("batch", WIDTH)), "healthy", advice="minimum", weights={"": to(0.0)}
    ),
    "a dead branch": Case(with_a_dead_branch(), "healthy", advice="dead", weights={"before/bias": to(-100.0)}),
    # Not finite.
    "weights that overflow": Case(
        deep(gs.dense(WIDTH, kernel_initializer=scaled(1e3)), turns=20), "non_finite", "dense_1", "overflows"
    ),
    "an exponential that overflows": Case(
        gs.sequential(gs.dense(4), gs.exp(name="up"), x=("batch", WIDTH)),
        "non_finite",
        "up",
        "overflows",
        weights={"bias": to(200.0)},
    ),
    "the logarithm of 0": Case(logarithm(), "non_finite", "ln", "small constant", weights={"bias": to(-100.0)}),
    "data with a hole": Case(
        gs.sequential(gs.dense(4), x=("batch", WIDTH)),
        "non_finite",
        "x",
        "look at the data",
        x=np.where(np.arange(EXAMPLES * WIDTH).reshape(EXAMPLES, WIDTH) == 5, np.nan, np.float32(1)).astype(np.float32),
    ),
    "a weight that is not a number": Case(
        gs.sequential(gs.dense(4), x=("batch", WIDTH)),
        "non_finite",
        "dense_1/kernel",
        "learn more slowly",
        weights={"kernel": times(np.nan)},
    ),
    "a root at 0": Case(
        gs.sequential(gs.dense(4, name="zero"), gs.sqrt(), x=("batch", WIDTH)),
        "non_finite",
        "zero",
        "sqrt",
        y=None,
        loss=gs.output_loss(),
        weights={"": to(0.0)},
    ),
    "a loss that overflows": Case(
        gs.sequential(gs.dense(4, name="far"), x=("batch", WIDTH)), "non_finite", "far", "targets", y=1e30
    ),
    # Disconnected.
    "a parameter that nothing takes": Case(
        two_heads(), "disconnected", "unused/kernel", "unused", loss=gs.squared_error(prediction="used", target="y")
    ),
    "a wall": Case(stopped(), "disconnected", "behind/kernel", "stop"),
    "classes instead of scores": Case(chosen(), "disconnected", "scores/kernel", "best"),
}

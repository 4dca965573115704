"""The training cycle on the caller's side: forward, backward, W -= learning_rate * dL/dW.

Made to be copied: nothing here knows of the demo.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

import gradserve as gs

Weights = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Step:
    """What one step tells while training goes on: its number (from 1), loss and seconds."""

    number: int
    loss: float
    seconds: float


@dataclass(frozen=True)
class Schedule:
    """How to train: epochs, examples in a batch, learning rate and the seed of the shuffles."""

    epochs: int
    batch_size: int
    learning_rate: float
    seed: int = 0

    def steps(self, examples: int) -> int:
        """Steps in all; what does not fill a batch is left out of its epoch."""
        return self.epochs * (examples // self.batch_size)


def train(
    client: gs.Client,
    network: gs.Network,
    weights: Mapping[str, NDArray[Any]],
    images: NDArray[np.float32],
    labels: NDArray[np.int32],
    schedule: Schedule,
    on_step: Callable[[Step], None] | None = None,
) -> Weights:
    """Weights after plain stochastic gradient descent; `weights` stay as they are.

    `network` takes "x" (shape of `images`) and gives logits [batch, classes]; `labels` are integer
    classes [n]. Every batch has the same size, so that the server compiles one program.
    """
    loss = gs.softmax_cross_entropy(target="y")
    weights = dict(weights)
    shuffle = np.random.default_rng(schedule.seed)
    number = 0
    for _ in range(schedule.epochs):
        order = shuffle.permutation(len(labels))
        for start in range(0, len(order) - schedule.batch_size + 1, schedule.batch_size):
            rows = order[start : start + schedule.batch_size]
            began = time.perf_counter()
            result = client.gradients(network, weights, {"x": images[rows], "y": labels[rows]}, loss=loss)
            seconds = time.perf_counter() - began
            for name, gradient in result.gradients.items():
                weights[name] = weights[name] - schedule.learning_rate * gradient
            number += 1
            if on_step is not None:
                on_step(Step(number, result.loss, seconds))
    return weights


def accuracy(
    client: gs.Client,
    network: gs.Network,
    weights: Mapping[str, NDArray[Any]],
    images: NDArray[np.float32],
    labels: NDArray[np.int32],
) -> float:
    """Part of the images, in 0..1, whose largest logit is that of the label."""
    (logits,) = client.forward(network, weights, {"x": images}).outputs.values()
    return float(np.mean(np.argmax(logits, axis=-1) == labels))

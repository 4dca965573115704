"""The two networks that the demo trains on digits, and how each is trained."""

from __future__ import annotations

from dataclasses import dataclass

import gradserve as gs
from gradserve.demo.training import Schedule


@dataclass(frozen=True)
class Lesson:
    """A network, its name for people, and how to train it."""

    title: str
    network: gs.Network
    schedule: Schedule


def perceptron() -> Lesson:
    """One hidden layer of 128: 64 pixels in, 10 logits out."""
    network = gs.sequential(
        gs.flatten(),
        gs.dense(128),
        gs.relu(),
        gs.dense(10),
        x=("batch", 8, 8, 1),
    )
    return Lesson("MLP 64-128-10", network, Schedule(epochs=15, batch_size=32, learning_rate=0.5))


def convolutional() -> Lesson:
    """Two convolutions of 3x3, a maximum over 2x2, 10 logits."""
    network = gs.sequential(
        gs.convolution(16, 3),
        gs.relu(),
        gs.convolution(32, 3),
        gs.relu(),
        gs.max_pooling(2),
        gs.flatten(),
        gs.dense(10),
        x=("batch", 8, 8, 1),
    )
    schedule = Schedule(epochs=8, batch_size=32, learning_rate=0.2)
    return Lesson("Convolutional 16-32-10", network, schedule)

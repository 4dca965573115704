"""The tables of memory and of 16 bits that the demo ends with, on a network that is compiled quickly."""

from __future__ import annotations

import io
from collections.abc import Iterator

import numpy as np
import pytest
from rich.console import Console

import gradserve as gs
from gradserve.demo import memory
from gradserve.demo.screen import Screen

NET = gs.sequential(gs.repeat([gs.dense(8), gs.tanh()], 12), gs.dense(10), x=("batch", 8))
X = np.random.default_rng(0).normal(size=(512, 8)).astype(np.float32)
BATCH = {"x": X, "y": np.argmax(X, axis=1).astype(np.int32)}


@pytest.fixture
def screen() -> Iterator[Screen]:
    with Screen(Console(file=io.StringIO())) as screen:
        yield screen


def test_a_scaled_loss_saves_gradients_in_float16(client_in_process: gs.Client, screen: Screen) -> None:
    weights = client_in_process.initialize(NET, seed=0)
    full, bfloat16, scaled, plain = memory.types(screen, client_in_process, NET, weights, BATCH)
    assert full.distance == full.lost == 0
    assert 1e-5 < scaled.distance < bfloat16.distance < 0.1
    assert plain.distance > 2 * scaled.distance
    assert plain.lost > scaled.lost


@pytest.mark.long
def test_each_choice_takes_less_and_gives_the_same(client_in_process: gs.Client, screen: Screen) -> None:
    weights = client_in_process.initialize(NET, seed=0)
    kept = memory.choices(screen, client_in_process, NET, weights, BATCH)
    assert [one.choice for one in kept] == ["off", "products", "blocks", "sqrt"]
    assert kept[-1].peak_bytes < kept[0].peak_bytes / 2
    assert all(one.distance < memory.SAME and one.seconds > 0 for one in kept)

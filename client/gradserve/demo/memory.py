"""Part 3, its end: what a gradient of a hundred layers takes, with each choice of what is kept and of numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich import box
from rich.table import Table
from rich.text import Text

import gradserve as gs
from gradserve.cli import terminal
from gradserve.demo import deep
from gradserve.demo.digits import Digits
from gradserve.demo.outcome import Outcome
from gradserve.demo.screen import Screen

EXAMPLES = 1024
SMALL = 1e-3  # A weight of the loss with which gradients are smaller than float16 holds.
SAME = 1e-5  # A distance of gradients that is that of float32 numbers added in another order.
RUNS = 2  # Of which the faster one is shown.


@dataclass(frozen=True)
class Kept:
    """What gradients take with one choice of checkpointing.

    Attributes:
        choice: by name.
        peak_bytes: by the server's description.
        seconds: of the run, without compiling.
        distance: from the gradients of the first choice, as a part of their norm.
    """

    choice: str
    peak_bytes: int
    seconds: float
    distance: float


@dataclass(frozen=True)
class Numbers:
    """What gradients are in one type of numbers.

    Attributes:
        title: of the type, for people.
        distance: from those of float32, as a part of their norm.
        lost: part of the gradients that are exactly 0 and are not in float32.
    """

    title: str
    distance: float
    lost: float


def weigh(screen: Screen, client: gs.Client, train: Digits) -> list[Outcome]:
    """Shows both tables; what is kept must change memory and not gradients, and a scaled loss must save float16's."""
    network = deep.residual().network
    batch = {"x": train.images[:EXAMPLES], "y": train.labels[:EXAMPLES]}
    weights = client.initialize(network, seed=0)
    kept = choices(screen, client, network, weights, batch)
    screen.show(
        "",
        f"[bold]What a gradient of {deep.LAYERS} layers and {EXAMPLES:,} examples takes[/]",
        _table_of_choices(kept),
    )
    found = types(screen, client, network, weights, batch)
    screen.show(f"[bold]Its gradients in 16 bits, where the loss counts {SMALL:g} times[/]", _table_of_types(found))
    full, least = kept[0], min(kept, key=lambda one: one.peak_bytes)
    scaled, plain = found[-2:]
    return [
        Outcome(
            least.peak_bytes < full.peak_bytes / 2 and max(one.distance for one in kept) < SAME,
            f"The same gradients with {least.peak_bytes / full.peak_bytes:.0%} of the memory ('{least.choice}')",
        ),
        Outcome(
            scaled.distance < plain.distance / 2,
            f"float16 gradients are {scaled.distance:.0%} off with the loss scaled, {plain.distance:.0%} without",
        ),
    ]


def choices(
    screen: Screen, client: gs.Client, network: gs.Network, weights: Mapping[str, Any], batch: Mapping[str, Any]
) -> list[Kept]:
    """Each choice of checkpointing: the peak that the server tells before anything runs, and a run."""
    screen.say("Asking what each choice of checkpointing takes")
    plans = client.describe(network, dimensions={"batch": len(batch["x"])}, loss=_loss(1.0)).memory
    expected: Mapping[str, NDArray[Any]] = {}
    kept = []
    for plan in plans:
        screen.say(f"Computing gradients with checkpointing '{plan.checkpointing}'")
        options: dict[str, Any] = {"loss": _loss(1.0), "checkpointing": plan.checkpointing}
        runs = [client.gradients(network, weights, batch, **options) for _ in range(RUNS)]
        found = runs[0].gradients
        expected = expected or found
        seconds = min(one.timing.execute for one in runs)
        kept.append(Kept(plan.checkpointing, plan.peak_bytes, seconds, distance(found, expected)))
    return kept


def types(
    screen: Screen, client: gs.Client, network: gs.Network, weights: Mapping[str, Any], batch: Mapping[str, Any]
) -> list[Numbers]:
    """Each type of numbers, on a loss with small gradients; float16 with the loss scaled and without."""
    expected: Mapping[str, NDArray[Any]] = {}
    rows = []
    ways: dict[str, dict[str, Any]] = {
        "float32": {},
        "bfloat16": {"precision": "bfloat16"},
        "float16, loss times 2^15": {"precision": "float16"},
        "float16, loss not scaled": {"precision": "float16", "loss_scale": 1.0},
    }
    for title, options in ways.items():
        screen.say(f"Computing gradients in {title}")
        found = client.gradients(network, weights, batch, loss=_loss(SMALL), checkpointing="off", **options).gradients
        expected = expected or found
        rows.append(Numbers(title, distance(found, expected), _lost(found, expected)))
    return rows


def distance(found: Mapping[str, NDArray[Any]], expected: Mapping[str, NDArray[Any]]) -> float:
    """The norm of the difference of all gradients, as a part of that of `expected`."""
    apart = sum(float(np.sum((found[name].astype(np.float64) - one) ** 2)) for name, one in expected.items())
    return math.sqrt(apart / sum(float(np.sum(one.astype(np.float64) ** 2)) for one in expected.values()))


def _lost(found: Mapping[str, NDArray[Any]], expected: Mapping[str, NDArray[Any]]) -> float:
    lost = sum(np.count_nonzero((found[name] == 0) & (one != 0)) for name, one in expected.items())
    return lost / sum(one.size for one in expected.values())


def _loss(weight: float) -> gs.Loss:
    # The weight is data: the losses of both tables are one program.
    return gs.sum_of_losses({"digits": (weight, gs.softmax_cross_entropy(target="y"))})


def _table_of_choices(kept: list[Kept]) -> Table:
    table = Table("checkpointing", box=box.SIMPLE_HEAD, pad_edge=False)
    for title in ("peak memory", "of 'off'", "time", "gradients off by"):
        table.add_column(title, justify="right")
    for one in kept:
        share = one.peak_bytes / kept[0].peak_bytes
        table.add_row(
            one.choice,
            f"{one.peak_bytes / 2**20:.1f} MiB",
            f"{share:.0%}",
            terminal.seconds(one.seconds),
            f"{one.distance:.0e}",
        )
    return table


def _table_of_types(found: list[Numbers]) -> Table:
    table = Table("computed in", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("gradients off by", justify="right")
    table.add_column("became 0", justify="right")
    for one in found:
        table.add_row(Text(one.title), f"{one.distance:.1%}", f"{one.lost:.1%}")
    return table

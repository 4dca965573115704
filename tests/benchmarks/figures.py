"""The figures of docs/memory-and-precision.md, measured and drawn."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import matplotlib as mpl
import numpy as np

import gradserve as gs
from tests.benchmarks.program_run import measured
from tests.benchmarks.row import Row
from tests.benchmarks.served import served

FOLDER = Path("docs/figures")
DEPTHS = (10, 30, 100)
CHOICES = ("off", "products", "blocks", "sqrt")
SCALES = tuple(2.0**power for power in range(0, 29, 4))
MIB = 1 << 20


def measure_figures(only: str) -> Iterator[Row]:
    """Draws both figures; the row `figure_depth` is what they show at their right end."""
    if only not in "figure_depth":
        return
    mpl.use("Agg")
    FOLDER.mkdir(exist_ok=True)
    peaks = _over_depth()
    _over_scale()
    yield Row("figure_depth", peaks["sqrt"], "MiB", peaks["off"], None)


def _over_depth() -> dict[str, float]:
    """Peak and time of each choice over depth; the peaks at the largest."""
    from matplotlib import pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    peaks = {}
    for choice in CHOICES:
        found = [measured(f"scanned:{depth}", choice) for depth in DEPTHS]
        left.plot(DEPTHS, [one.peak / MIB for one in found], marker="o", label=choice)
        right.plot(DEPTHS, [one.seconds * 1e3 for one in found], marker="o", label=choice)
        peaks[choice] = found[-1].peak / MIB
    left.set(xlabel="layers of 128, batch 1,024", ylabel="peak memory (MiB)")
    right.set(xlabel="layers of 128, batch 1,024", ylabel="time of a gradient (ms)")
    left.legend(title="checkpointing", frameon=False)
    _save(figure, "checkpointing.png")
    return peaks


def _over_scale() -> None:
    """Part of the gradients that float16 makes 0, over the loss scale."""
    from matplotlib import pyplot as plt

    net = gs.sequential(gs.dense(64), gs.tanh(), gs.dense(64), gs.tanh(), gs.dense(10), x=("batch", 64))
    random = np.random.default_rng(0)
    batch = {
        "x": random.standard_normal((256, 64)).astype(np.float32),
        "y": random.integers(0, 10, 256).astype(np.int32),
    }
    loss = gs.sum_of_losses({"small": (1e-5, gs.softmax_cross_entropy("y"))})
    with served("none") as client:
        weights = client.initialize(net, seed=0)
        exact = client.gradients(net, weights, batch, loss=loss)
        lost, wrong = [], []
        for scale in SCALES:
            found = client.gradients(net, weights, batch, loss=loss, precision="float16", loss_scale=scale)
            values = np.concatenate([one.ravel() for one in found.gradients.values()])
            right = np.concatenate([exact.gradients[name].ravel() for name in found.gradients])
            lost.append(float(np.mean(values == 0)))
            wrong.append(float(np.linalg.norm(values - right) / np.linalg.norm(right)))
    figure, axes = plt.subplots(figsize=(5.2, 3.4), layout="constrained")
    axes.plot(SCALES, lost, marker="o", label="exactly 0")
    axes.plot(SCALES, np.minimum(wrong, 1), marker="o", label="distance from float32, of its norm")
    axes.set(xscale="log", xlabel="loss scale", ylabel="part", ylim=(-0.05, 1.05))
    axes.set_xscale("log", base=2)
    axes.legend(title="float16 gradients", frameon=False)
    _save(figure, "loss-scaling.png")


def _save(figure: object, name: str) -> None:
    # Without dates and versions, so that equal figures are equal files.
    figure.savefig(FOLDER / name, dpi=100, metadata={"Software": None})  # type: ignore[attr-defined]

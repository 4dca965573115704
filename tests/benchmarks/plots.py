"""The table of rows as a picture: how far each is from its target."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl

from tests.benchmarks.row import Row

HELD, MISSED = "#54a24b", "#e45756"


def draw_rows(rows: Sequence[Row], path: Path) -> bool:
    """Draws the rows that have targets; gives whether there were any.

    A bar that ends left of 1 is a row that holds; of a rate, the bar is the target by the ratio.
    """
    aimed = [row for row in rows if row.target is not None]
    if not aimed:
        return False
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    with mpl.rc_context({"svg.hashsalt": "gradserve"}):
        figure, axes = plt.subplots(figsize=(8.6, 0.6 + 0.3 * len(aimed)), layout="constrained")
        for place, row in enumerate(aimed):
            assert row.target is not None
            share = row.target / row.ratio if row.rate else row.ratio / row.target
            axes.barh(place, share, color=HELD if row.holds else MISSED)
            axes.text(share, place, f" {row.ratio:.2f} ({row.target:g})", va="center", size=8)
        axes.axvline(1, color="black", linewidth=1)
        axes.set_yticks(range(len(aimed)), [row.name for row in aimed])
        axes.set(xlabel="of the target: ratio (target)", xlim=(0, 1.6))
        axes.invert_yaxis()
        axes.spines[["top", "right"]].set_visible(False)
        figure.savefig(path, metadata={"Date": None, "Creator": None})
    plt.close(figure)
    return True

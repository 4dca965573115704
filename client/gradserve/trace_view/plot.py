"""The size of gradients over depth as a picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gradserve.errors import MissingExtra
from gradserve.trace_view.flow import MEANINGS, VERDICTS, Point, points
from gradserve.trace_view.structure import structure
from gradserve.traces import TraceResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

VALUE, PARAMETER, PLACE = "#c0400d", "#3451d1", "#92590a"
MOST_PLACES = 8
SMALLEST = 1e-240  # What an axis of logarithms can show, with room around it.


def trace_plot(trace: TraceResult, title: str = "") -> Figure:
    """Root mean square of the gradient of each value over its depth, on a scale of decades.

    Gradients that are exactly 0 stand on a line of their own at the bottom, those that are not finite at the top.

    Args:
        trace: what `Client.trace` answered.
        title: stands above the plot.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise MissingExtra("plots need matplotlib: pip install 'gradserve[cli]'") from error
    graph = structure(trace.values)
    shown = points(trace, graph)
    figure = Figure(figsize=(9.0, 4.6), dpi=150, layout="constrained")
    axes = figure.subplots()
    _draw(axes, shown)
    at = {trace.values[point.index].name: point.depth for point in shown}
    for number, place in enumerate([place for place in trace.flow.places if place in at][:MOST_PLACES]):
        said = None if number else "where it breaks down"
        axes.axvline(at[place], color=PLACE, linewidth=1.0, linestyle=":", label=said)
    verdict = f"{VERDICTS[trace.flow.verdict]}. {MEANINGS[trace.flow.verdict]}"
    axes.set_title(f"{title}\n{verdict}" if title else verdict, loc="left", fontsize=11)
    axes.set_xlabel("depth: operations from the input (left) to the loss (right)")
    axes.set_ylabel("gradient, root mean square")
    axes.grid(visible=True, axis="y", color="#dde2ea", linewidth=0.7)
    axes.spines[["top", "right"]].set_visible(False)
    if shown:
        axes.legend(frameon=False, loc="best", fontsize=9)
    return figure


def save_trace_plot(trace: TraceResult, path: str | Path, title: str = "") -> None:
    """Writes `trace_plot` to a file, as its ending says (.png, .svg, .pdf).

    Raises:
        MissingExtra: matplotlib is not installed.
        OSError: it cannot be written.
        ValueError: the ending is of no known format.
    """
    trace_plot(trace, title).savefig(path)


def _draw(axes: Axes, shown: Sequence[Point]) -> None:
    sizes = [point.size for point in shown if _is_plain(point.size)]
    low, high = (min(sizes), max(sizes)) if sizes else (1.0, 1.0)
    # At least two decades, so that what is level looks level.
    low, high = max(min(low, high / 10), SMALLEST), min(max(high, low * 10), 1 / SMALLEST)
    apart = math.exp(0.07 * (math.log(high) - math.log(low)))
    low, high = low / apart, high * apart
    axes.set_yscale("log")

    def height(size: float) -> float:
        if not math.isfinite(size):
            return high
        return min(max(size, low), high)

    flowing = [point for point in shown if point.of == "value"]
    largest: dict[int, float] = {}
    for point in flowing:
        largest[point.depth] = max(largest.get(point.depth, 0.0), height(point.size))
    line = sorted(largest.items())
    axes.plot([depth for depth, _ in line], [size for _, size in line], color=VALUE, linewidth=1.0, alpha=0.6)
    small = 9 if len(shown) > 200 else 22
    for of, marker, color, label in (("value", "o", VALUE, "values"), ("parameter", "D", PARAMETER, "parameters")):
        some = [point for point in shown if point.of == of]
        for filled, kind in ((True, label), (False, f"{label}, exactly 0 or not finite")):
            part = [point for point in some if _is_plain(point.size) == filled]
            if part:
                axes.scatter(
                    [point.depth for point in part],
                    [height(point.size) for point in part],
                    s=small,
                    marker=marker,
                    facecolors=color if filled else "none",
                    edgecolors=color,
                    linewidths=0.8,
                    label=kind,
                    zorder=3,
                )
    axes.set_ylim(low / apart**0.4, high * apart**0.4)


def _is_plain(size: float) -> bool:
    return math.isfinite(size) and size > 0.0

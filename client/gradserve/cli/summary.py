"""What `gradserve grad` says of a result: for people as tables, for scripts as JSON."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

import gradserve as gs
from gradserve.cli import terminal

if TYPE_CHECKING:
    from rich.console import Console


@dataclass(frozen=True)
class Gradient:
    """One line of the summary: what it is the gradient of, shape, type, Euclidean norm, health."""

    name: str
    of: Literal["parameter", "input"]
    shape: tuple[int, ...]
    data_type: str
    norm: float
    finite: bool


def listed(result: gs.GradientResult) -> list[Gradient]:
    """Parameters by name, then inputs by name."""
    rows = []
    kinds: dict[Literal["parameter", "input"], Any] = {
        "parameter": result.gradients,
        "input": result.input_gradients,
    }
    for of, arrays in kinds.items():
        for name, array in sorted(arrays.items()):
            wide = array.astype(np.float64)
            norm = result.summary.norms[name] if of == "parameter" else np.linalg.norm(wide)
            finite = bool(np.isfinite(wide).all())
            rows.append(Gradient(name, of, array.shape, str(array.dtype), float(norm), finite))
    return rows


def facts(result: gs.GradientResult) -> dict[str, Any]:
    """The summary as JSON takes it: numbers that are not finite are null."""
    return {
        "loss": _number(result.loss),
        "global_norm": _number(result.summary.global_norm),
        "finite": result.summary.finite,
        "gradients": [
            {
                "name": row.name,
                "of": row.of,
                "shape": list(row.shape),
                "data_type": row.data_type,
                "norm": _number(row.norm),
                "finite": row.finite,
            }
            for row in listed(result)
        ],
        "terms": {name: _number(value) for name, value in result.terms.items()},
        "seconds": {
            "queue": result.timing.queue,
            "compile": result.timing.compile,
            "execute": result.timing.execute,
        },
    }


def show(result: gs.GradientResult, to: Console, clipped_to: float | None = None) -> None:
    """Prints the loss, norms and times, then a table of gradients."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    timing = result.timing
    top = Table.grid(padding=(0, 2))
    top.add_column(style="bold")
    top.add_column()
    top.add_row("loss", f"{result.loss:.9g}")
    for name, value in result.terms.items():
        top.add_row(Text(f"  {name}"), f"{value:.9g}")
    clipping = "" if clipped_to is None else f" (before clipping to {clipped_to:g})"
    top.add_row("global norm", f"{result.summary.global_norm:.9g}{clipping}")
    top.add_row("finite", "yes" if result.summary.finite else "[bold red]no[/]")
    top.add_row(
        "time",
        f"queue {terminal.seconds(timing.queue)}, compile {terminal.seconds(timing.compile)}, "
        f"execute {terminal.seconds(timing.execute)}",
    )
    to.print(top)
    to.print()

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("gradient of", overflow="fold")
    table.add_column("shape", overflow="fold")
    table.add_column("type")
    table.add_column("norm", justify="right")
    table.add_column("finite", justify="center")
    for row in listed(result):
        title = Text(row.name)
        if row.of == "input":
            title.append(" (input)", style="dim")
        shape, norm = Text(terminal.shape(row.shape)), f"{row.norm:.6g}"
        table.add_row(title, shape, row.data_type, norm, terminal.tick(row.finite, to))
    to.print(table)


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None

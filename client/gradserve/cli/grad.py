"""`gradserve grad`: a loss and its gradients, from files to a file."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

import gradserve as gs
from gradserve.cli import files, terminal
from gradserve.cli.connection import connect
from gradserve.cli.usage import UsageError

if TYPE_CHECKING:
    from rich.console import Console


@dataclass(frozen=True)
class Gradient:
    """One line of the summary: name, what it belongs to, shape, type, norm, health."""

    name: str
    kind: str
    shape: tuple[int, ...]
    data_type: str
    norm: float
    finite: bool


def run(options: argparse.Namespace) -> int:
    """Computes, writes `--output` (and `--statistics`), prints the summary."""
    network, loss = files.network(options.network), files.loss(options.loss)
    weights, batch = files.weights(options.weights), files.batch(options.batch)
    for path in (options.output, options.statistics):
        if path is not None and not path.parent.is_dir():
            raise UsageError(f"{path}: there is no folder {path.parent}")
    with (
        terminal.Activity(terminal.console(stderr=True)) as activity,
        connect(options.address, options.timeout, activity.say) as client,
    ):
        result = client.gradients(
            network,
            weights,
            batch,
            loss=loss,
            parameters=options.parameters,
            inputs=options.inputs,
            mode=options.mode,
            seed=options.seed,
            clip_global_norm=options.clip_global_norm,
        )
    gradients = _gradients(result)
    _save({**result.gradients, **result.input_gradients}, options.output)
    if options.statistics is not None:
        _save(result.updated_statistics, options.statistics)
    if options.json:
        print(json.dumps(_facts(result, gradients, options.output), indent=2, allow_nan=False))
    else:
        _show(result, gradients, options, terminal.console())
    return 0


def _gradients(result: gs.GradientResult) -> list[Gradient]:
    """Parameters by name, then inputs by name."""
    rows = []
    for kind, arrays in (("parameter", result.gradients), ("input", result.input_gradients)):
        for name, array in sorted(arrays.items()):
            wide = array.astype(np.float64)
            norm = result.summary.norms[name] if kind == "parameter" else np.linalg.norm(wide)
            finite = bool(np.isfinite(wide).all())
            rows.append(Gradient(name, kind, array.shape, str(array.dtype), float(norm), finite))
    return rows


def _save(tensors: Mapping[str, NDArray[Any]], path: Path) -> None:
    try:
        gs.save_weights(tensors, path)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror or error}") from error


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None  # JSON has no word for the others.


def _facts(result: gs.GradientResult, gradients: list[Gradient], output: Path) -> dict[str, Any]:
    return {
        "loss": _number(result.loss),
        "global_norm": _number(result.summary.global_norm),
        "finite": result.summary.finite,
        "gradients": [
            {
                "name": row.name,
                "of": row.kind,
                "shape": list(row.shape),
                "data_type": row.data_type,
                "norm": _number(row.norm),
                "finite": row.finite,
            }
            for row in gradients
        ],
        "terms": {name: _number(value) for name, value in result.terms.items()},
        "seconds": {
            "queue": result.timing.queue,
            "compile": result.timing.compile,
            "execute": result.timing.execute,
        },
        "output": str(output),
    }


def _show(
    result: gs.GradientResult,
    gradients: list[Gradient],
    options: argparse.Namespace,
    to: Console,
) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="bold")
    facts.add_column()
    facts.add_row("loss", f"{result.loss:.9g}")
    for name, value in result.terms.items():
        facts.add_row(Text(f"  {name}"), f"{value:.9g}")
    clipped = " before clipping" if options.clip_global_norm else ""
    facts.add_row("global norm", f"{result.summary.global_norm:.9g}{clipped}")
    facts.add_row("finite", "yes" if result.summary.finite else "[bold red]no[/]")
    timing = result.timing
    facts.add_row(
        "time",
        f"queue {terminal.seconds(timing.queue)}, compile {terminal.seconds(timing.compile)}, "
        f"execute {terminal.seconds(timing.execute)}",
    )
    to.print(facts)
    to.print()

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("gradient of", overflow="fold")
    for heading in ("shape", "type", "norm"):
        table.add_column(heading, justify="right" if heading == "norm" else "left")
    table.add_column("finite", justify="center")
    for row in gradients:
        title = Text(row.name)
        if row.kind == "input":
            title.append(" (input)", style="dim")
        table.add_row(
            title,
            Text(terminal.shape(row.shape)),
            row.data_type,
            f"{row.norm:.6g}",
            terminal.tick(row.finite, to),
        )
    to.print(table)
    to.print(f"{terminal.count(len(gradients), 'gradient')} in {options.output}", markup=False)
    if options.statistics is not None:
        held = terminal.count(len(result.updated_statistics), "updated statistic")
        to.print(f"{held} in {options.statistics}", markup=False)

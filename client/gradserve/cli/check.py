"""`gradserve check`: gradients against finite differences, as a table of both."""

from __future__ import annotations

import argparse
import json
import math
from typing import TYPE_CHECKING, Any

import gradserve as gs
from gradserve.cli import files, terminal
from gradserve.cli.connection import connect

if TYPE_CHECKING:
    from rich.console import Console

DIFFER = 1


def run(options: argparse.Namespace) -> int:
    """Checks, prints the table; 1 where a gradient differs."""
    network, loss = files.network(options.network), files.loss(options.loss)
    weights, batch = files.weights(options.weights), files.batch(options.batch)
    with (
        terminal.Activity(terminal.console(stderr=True)) as activity,
        connect(options.address, options.timeout, activity.say) as client,
    ):
        check = client.check_gradients(
            network,
            weights,
            batch,
            loss=loss,
            parameters=options.parameters,
            inputs=options.inputs,
            directions=options.directions,
            elements=options.elements,
            tolerance=options.tolerance,
            mode=options.mode,
            seed=options.seed,
        )
    if options.json:
        print(json.dumps(facts(check), indent=2, allow_nan=False))
    else:
        show(check, terminal.console())
    return 0 if check.holds else DIFFER


def show(check: gs.GradientCheck, to: Console) -> None:
    """Prints what was compared, and where it differs."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("moved", overflow="fold")
    for title in ("gradient", "difference", "relative error", ""):
        table.add_column(title, justify="right")
    for one in check.derivatives:
        table.add_row(
            Text(place_of(one), style="" if one.holds else "bold red"),
            f"{one.served:.9g}",
            f"{one.difference:.9g}",
            f"{one.relative_error:.1e}",
            terminal.tick(one.holds, to),
        )
    to.print(table)
    count = terminal.count(len(check.derivatives), "derivative")
    if check.holds:
        to.print(f"{count} agree with central differences of the loss, to {check.tolerance:g}")
    else:
        to.print(f"[bold red]{len(check.differing)} of {count} differ[/] by more than {check.tolerance:g}")


def place_of(one: gs.CheckedDerivative) -> str:
    """What was moved, as people write it."""
    if not one.name:
        return "all parameters"
    if one.element is None:
        return one.name
    return f"{one.name}[{', '.join(map(str, one.element))}]"


def facts(check: gs.GradientCheck) -> dict[str, Any]:
    """The same for scripts; numbers that are not finite are null."""
    return {
        "loss": _number(check.loss),
        "holds": check.holds,
        "tolerance": check.tolerance,
        "derivatives": [
            {
                "name": one.name,
                "element": None if one.element is None else list(one.element),
                "gradient": _number(one.served),
                "difference": _number(one.difference),
                "relative_error": _number(one.relative_error),
                "holds": one.holds,
            }
            for one in check.derivatives
        ],
    }


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None

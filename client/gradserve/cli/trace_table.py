"""What `gradserve trace` says of a trace: for people as a table and a verdict, for scripts as JSON."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import gradserve as gs
from gradserve.cli import terminal
from gradserve.trace_view.flow import MEANINGS, VERDICTS
from gradserve.trace_view.structure import Group, structure

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

ENDS = 2  # Layers that are shown at both ends of a repeated block.
COLOURS = {
    "healthy": "green",
    "vanishing": "yellow",
    "disconnected": "yellow",
    "exploding": "red",
    "non_finite": "red",
}


def show(trace: gs.TraceResult, to: Console, *, whole: bool = False) -> None:
    """Prints the loss, a row for each value, and the verdict; of long repeated blocks the ends, unless `whole`."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    to.print(f"[bold]loss[/]  {trace.loss:.9g}\n")
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for title in ("name", "shape", "value", "gradient", "chain rule"):
        table.add_column(title, overflow="fold", ratio=2 if title == "chain rule" else None)
    for entry in listed(trace, whole=whole):
        if isinstance(entry, str):
            table.add_row(Text(entry, style="dim italic"))
        else:
            table.add_row(
                Text.assemble((entry.name, "bold"), "\n", (entry.operation, "dim")),
                Text(terminal.shape(entry.value.shape)),
                statistics(entry.value, "cyan"),
                statistics(entry.gradient, "yellow") if entry.gradient else Text("none", style="dim"),
                Text(entry.chain_rule),
            )
    to.print(table)
    show_verdict(trace.flow, to)


def show_verdict(flow: gs.GradientFlow, to: Console) -> None:
    """Prints the verdict, where it breaks down, and what to try."""
    from rich.text import Text

    colour = COLOURS.get(flow.verdict, "default")
    to.print(Text.assemble((VERDICTS[flow.verdict], f"bold {colour}"), f"  {MEANINGS[flow.verdict]}"))
    if flow.factor_per_layer:
        to.print(f"  {flow.factor_per_layer:.3g} times from each layer to the one before it")
    for title, said in (("where", flow.places), ("what to try", flow.advice)):
        if said:
            to.print(f"  [bold]{title}[/]")
        for one in said:
            to.print(Text(f"  - {one}"))
    to.print()


def listed(trace: gs.TraceResult, *, whole: bool) -> Iterator[gs.TracedValue | str]:
    """Values in forward order; a line of text stands for layers that are left out."""
    return _inside(structure(trace.values).network, trace, whole)


def _inside(group: Group, trace: gs.TraceResult, whole: bool) -> Iterator[gs.TracedValue | str]:
    layers = [member for member in group.members if isinstance(member, Group) and member.kind == "layer"]
    hidden = set() if whole or len(layers) <= 2 * ENDS + 1 else {layer.path for layer in layers[ENDS:-ENDS]}
    for member in group.members:
        if isinstance(member, int):
            yield trace.values[member]
        elif member.path not in hidden:
            yield from _inside(member, trace, whole)
        elif member is layers[ENDS]:
            last = layers[-ENDS - 1].path
            yield f"... {len(hidden)} layers, {member.path} to {last} (--all shows them)"


def statistics(of: gs.TensorStatistics, colour: str) -> Text:
    """The number itself, or root mean square, range, and what is zero or not finite."""
    from rich.text import Text

    if math.prod(of.shape) == 1 and not of.non_finite:
        return Text(f"{of.mean:.6g}", style=colour)
    if of.zero_fraction == 1.0:
        return Text("0 everywhere", style=colour)
    text = Text.assemble((f"rms {of.root_mean_square:.3g}", colour), f"\n{of.mean:.3g} ± {of.standard_deviation:.3g}")
    text.append(f"\n{of.minimum:.3g} to {of.maximum:.3g}", style="dim")
    if of.zero_fraction > 0:
        text.append(f"\n{100 * of.zero_fraction:.3g} % zero", style="dim")
    if of.non_finite:
        text.append(f"\n{of.non_finite:,} not finite", style="bold red")
    return text


def facts(trace: gs.TraceResult) -> dict[str, Any]:
    """The trace as JSON takes it, without whole tensors: numbers that are not finite are null."""
    return {
        "loss": _number(trace.loss),
        "values": [
            {
                "name": value.name,
                "operation": value.operation,
                "inputs": list(value.inputs),
                "value": _statistics(value.value),
                "gradient": None if value.gradient is None else _statistics(value.gradient),
                "chain_rule": value.chain_rule,
            }
            for value in trace.values
        ],
        "flow": {
            "verdict": trace.flow.verdict,
            "factor_per_layer": _number(trace.flow.factor_per_layer),
            "places": list(trace.flow.places),
            "advice": list(trace.flow.advice),
        },
    }


def _statistics(of: gs.TensorStatistics) -> dict[str, Any]:
    numbers = {
        field.name: value
        for field in dataclasses.fields(of)
        if isinstance(value := getattr(of, field.name), int | float)
    }
    return {
        "data_type": str(of.dtype),
        "shape": list(of.shape),
        **{name: _number(value) for name, value in numbers.items()},
    }


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None

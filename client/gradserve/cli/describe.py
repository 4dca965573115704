"""`gradserve describe`: what a network takes, gives and holds, and what a batch costs."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import gradserve as gs
from gradserve.cli import files, terminal
from gradserve.cli.connection import connect

if TYPE_CHECKING:
    from rich.console import Console


def run(options: argparse.Namespace) -> int:
    """Asks the server and prints what it says; the cost where `--dimension` is given."""
    network = files.network(options.network or options.file)
    loss = files.loss(options.loss) if options.loss is not None else None
    with (
        terminal.Activity(terminal.console(stderr=True)) as activity,
        connect(options.address, options.timeout, activity.say) as client,
    ):
        description = client.describe(network, dimensions=dict(options.dimension), loss=loss)
    if options.json:
        print(json.dumps(facts(description), indent=2))
    else:
        show(description, terminal.console())
    return 0


def facts(description: gs.NetworkDescription) -> dict[str, Any]:
    """The description as JSON takes it."""

    def forms(tensors: Sequence[gs.TensorInfo]) -> list[dict[str, Any]]:
        return [{"name": one.name, "data_type": str(one.dtype), "shape": list(one.shape)} for one in tensors]

    return {
        "inputs": forms(description.inputs),
        "outputs": forms(description.outputs),
        "parameters": forms(description.parameters),
        "statistics": forms(description.statistics),
        "parameter_count": description.parameter_count,
        "flops": description.flops,
        "memory": [
            {
                "checkpointing": plan.checkpointing,
                "peak_bytes": plan.peak_bytes,
                "fits": plan.fits,
            }
            for plan in description.memory
        ],
    }


def show(description: gs.NetworkDescription, to: Console) -> None:
    """Prints a table of tensors, then counts and cost."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("", style="bold")
    table.add_column("name", overflow="fold")
    table.add_column("shape")
    table.add_column("type")
    table.add_column("elements", justify="right")
    for kind, tensors in (
        ("input", description.inputs),
        ("parameter", description.parameters),
        ("statistic", description.statistics),
        ("output", description.outputs),
    ):
        for one in tensors:
            sizes = [size for size in one.shape if isinstance(size, int)]
            known = len(sizes) == len(one.shape)
            table.add_row(
                kind,
                Text(one.name),
                Text(terminal.shape(one.shape)),
                str(one.dtype),
                f"{math.prod(sizes):,}" if known else "",
            )
    to.print(table)
    to.print(terminal.count(description.parameter_count, "parameter") + " in all")
    if description.flops:
        to.print(f"{description.flops:,} floating-point operations forward and backward")
    for plan in description.memory:
        fits = "" if plan.fits else " [bold red](more than the server takes)[/]"
        to.print(f"{_bytes(plan.peak_bytes)} at the peak, checkpointing {plan.checkpointing}{fits}")
    if not description.flops and not description.memory:
        to.print("Add --dimension NAME=SIZE for what a batch costs.")


def _bytes(number: int) -> str:
    value = float(number)
    for unit in ("bytes", "KiB", "MiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "bytes" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} GiB"

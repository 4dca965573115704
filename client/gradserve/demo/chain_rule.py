"""Part 1: nine gradients by the chain rule, by hand and by the server's trace."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich import box
from rich.table import Table
from rich.text import Text

import gradserve as gs
from gradserve.cli import terminal
from gradserve.demo import worked_example
from gradserve.demo.outcome import Outcome
from gradserve.demo.screen import Screen
from gradserve.demo.worked_example import Row

TOLERANCE = 1e-6


def compare(screen: Screen, client: gs.Client) -> Outcome:
    """What the server traces beside the same by hand."""
    given = worked_example.Numbers()
    screen.heading("1  Every gradient explained, on an example to work out by hand")
    screen.show(
        Text("y = sigmoid(w2 relu(w1 x + b1) + b2),   L = -log(y)"),
        f"x = {given.x:g}, w1 = {given.w1:g}, b1 = {given.b1:g}, w2 = {given.w2:g}, b2 = {given.b2:g}, in float64",
    )
    trace = worked_example.traced(client, given)
    served = worked_example.served(trace)
    agree = True
    for title, rows in (
        ("Forward: from x to the loss", worked_example.forward_by_hand(given)),
        ("Backward: nine gradients, from the loss to x", worked_example.backward_by_hand(given)),
    ):
        table, holds = _table(rows, served, screen)
        screen.show("", f"[bold]{title}[/]", table)
        agree = agree and holds
    screen.show("[bold]The chain rule at each step, as the server tells it[/]", "")
    rules = {f"dL/d{value.name}": value.chain_rule for value in trace}
    screen.show(*(Text(rules.get(row.name, "")) for row in worked_example.backward_by_hand(given)))
    verdict = "agree" if agree else "do not agree"
    return Outcome(agree, f"values, loss and nine gradients {verdict} with the chain rule by hand to 1e-6")


def _table(rows: Sequence[Row], served: Mapping[str, float], screen: Screen) -> tuple[Table, bool]:
    """A row for each quantity, and whether all agree."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("")
    table.add_column("served", justify="right", style="bold")
    table.add_column("by hand", justify="right")
    table.add_column("off by", justify="right")
    table.add_column("")
    table.add_column("how")
    agree = True
    for row in rows:
        number = served.get(row.name, float("nan"))
        difference = abs(number - row.value)
        holds = difference <= TOLERANCE  # False for NaN too.
        agree = agree and holds
        table.add_row(
            row.name,
            f"{number:.9f}",
            f"{row.value:.9f}",
            f"{difference:.0e}",
            terminal.tick(holds, screen.console),
            Text(row.formula),
        )
    return table, agree

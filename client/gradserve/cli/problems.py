"""An error of the server or the way to it, shown so that a person sees what to change."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import gradserve as gs

if TYPE_CHECKING:
    from rich.console import Console


def show(error: gs.GradserveError, to: Console) -> None:
    """Prints a panel: the message, then field, node, given, expected and hint where known."""
    from rich.console import Group
    from rich.panel import Panel
    from rich.table import Table
    from rich.text import Text

    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="bold")
    facts.add_column(overflow="fold")
    for label in ("field", "node", "given", "expected", "hint"):
        if value := getattr(error, label):
            facts.add_row(label, Text(str(value)))
    if listed := error.metadata.get("unsupported"):
        for label, one in zip(itertools.chain(["unsupported"], itertools.repeat("")), listed.split("; "), strict=False):
            facts.add_row(label, Text(one))
    parts: list[Text | Table] = [Text(_what_is_wrong(error))]
    if facts.row_count:
        parts += [Text(), facts]
    reason = error.reason or type(error).__name__
    to.print(
        Panel(
            Group(*parts),
            title=Text(reason, style="bold red"),
            title_align="left",
            border_style="red",
            expand=False,
        )
    )


def _what_is_wrong(error: gs.GradserveError) -> str:
    """The message without what has a line of its own below it."""
    message = error.message
    for label, value in (("given", error.given), ("expected", error.expected)):
        if value:
            message = message.partition(f": {label} {value}")[0]
    return message.removeprefix(f"{error.field}: ").removesuffix(f". {error.hint}")

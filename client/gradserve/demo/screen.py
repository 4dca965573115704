"""What the demo draws on: headings, tables, images of digits, a progress bar."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self, final

import numpy as np
from numpy.typing import NDArray
from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.rule import Rule

from gradserve.cli import terminal
from gradserve.demo.training import Step


@final
class Screen:
    """A console that shows one moving thing at a time: a spinner or a progress bar."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._activity = terminal.Activity(console)
        self._bar: Bar | None = None

    def say(self, what: str) -> None:
        """Says what goes on, beside the progress bar if there is one."""
        if self._bar is not None:
            self._bar.say(what)
        else:
            self._activity.say(what)

    def show(self, *what: RenderableType) -> None:
        """Prints one thing after the other; strings may hold rich's markup."""
        self._activity.quiet()
        for one in what:
            self.console.print(one)

    def heading(self, text: str) -> None:
        """A line across the screen with `text` at its left."""
        self.show("", Rule(f"[bold]{text}[/]", align="left", style="cyan"), "")

    @contextmanager
    def bar(self, title: str, steps: int) -> Iterator[Bar]:
        """A progress bar of `steps` steps; elsewhere than on a terminal one line at its end."""
        self._activity.quiet()
        with Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("{task.fields[says]}"),
            TimeElapsedColumn(),
            console=self.console,
            refresh_per_second=8,
        ) as progress:
            self._bar = Bar(progress, title, steps)
            try:
                yield self._bar
            finally:
                self._bar = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._activity.quiet()


@final
class Bar:
    """The progress of one training."""

    def __init__(self, progress: Progress, title: str, steps: int) -> None:
        self._progress = progress
        self._task = progress.add_task(title, total=steps, says="")

    def say(self, what: str) -> None:
        """Shows `what` until the next step."""
        self._progress.update(self._task, says=f"[dim]{what}[/]")

    def step(self, step: Step) -> None:
        """One step more, with its loss."""
        self._progress.update(self._task, completed=step.number, says=f"loss {step.loss:.4f}")


def picture(images: NDArray[np.float32], console: Console) -> str:
    """Images [n, 8, 8, 1] in [0, 1] side by side, each pixel as two characters of a shade."""
    shades = " ░▒▓█" if terminal.is_unicode(console) else " .:*#"
    levels = np.rint(images[..., 0] * (len(shades) - 1)).astype(int)
    return "\n".join(
        "   ".join("".join(shades[level] * 2 for level in row) for row in rows) for rows in levels.transpose(1, 0, 2)
    )

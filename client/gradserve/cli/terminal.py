"""Terminals: rich where there is one, plain text where there is none, NO_COLOR respected."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self, final

import gradserve as gs

if TYPE_CHECKING:
    from rich.console import Console
    from rich.status import Status


def console(*, stderr: bool = False) -> Console:
    """A console on stdout or stderr; gs.MissingExtra if rich is not installed."""
    try:
        from rich.console import Console
    except ModuleNotFoundError as error:
        raise gs.MissingExtra("this command needs rich: pip install 'gradserve[cli]'") from error
    return Console(stderr=stderr, highlight=False, emoji=False)


def is_unicode(to: Console) -> bool:
    """Whether `to` can write more than ASCII."""
    return to.encoding.lower().startswith("utf")


def tick(holds: bool, to: Console) -> str:
    """A mark for what holds or does not, in characters that `to` can write."""
    if is_unicode(to):
        return "[green]✓[/]" if holds else "[bold red]✗[/]"
    return "[green]ok[/]" if holds else "[bold red]NO[/]"


def seconds(value: float) -> str:
    """A duration in ms or s, whichever reads better."""
    return f"{value * 1e3:.2f} ms" if value < 1.0 else f"{value:.2f} s"


def count(number: int, noun: str) -> str:
    """A number with its noun, such as "1 parameter" or "2 parameters"."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def shape(sizes: tuple[int | str, ...]) -> str:
    """A shape as people write it: "[batch, 64]", and "[]" for a scalar."""
    return "[" + ", ".join(str(size) for size in sizes) + "]"


@final
class Activity:
    """Says what goes on: by a spinner on a terminal, by one plain line each elsewhere."""

    def __init__(self, to: Console) -> None:
        self._console = to
        self._spins = to.is_terminal and not to.is_dumb_terminal
        self._status: Status | None = None

    def say(self, what: str) -> None:
        """Starts the spinner or changes what it says, or prints a line."""
        if not self._spins:
            self._console.print(f"{what} ...", markup=False)
        elif self._status is not None:
            self._status.update(what)
        else:
            spinner = "dots" if is_unicode(self._console) else "line"
            self._status = self._console.status(what, spinner=spinner)
            self._status.start()

    def quiet(self) -> None:
        """Takes the spinner away; the next `say` starts it again."""
        if self._status is not None:
            self._status.stop()
            self._status = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.quiet()

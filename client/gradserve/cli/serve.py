"""`gradserve serve`: hands over to the server, which the client never imports by name."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import entry_points
from typing import cast

import gradserve as gs

GROUP = "gradserve.commands"
NEEDS = "gradserve serve needs the server: pip install 'gradserve[server]'"


def run(given: list[str]) -> int:
    """Runs the command "serve" of the entry point group with `given`, untouched."""
    found = list(entry_points(group=GROUP, name="serve"))
    if not found:
        raise gs.MissingExtra(NEEDS)
    try:
        command = cast("Callable[[list[str]], int]", found[0].load())
    except ModuleNotFoundError as error:
        if error.name and error.name.partition(".")[0] in ("gradserve", "gradserve_server"):
            raise  # Our own code is always installed: this is a fault, not a missing extra.
        raise gs.MissingExtra(f"{NEEDS} ({error})") from error
    return command(given)

"""`gradserve demo`: gradients explained, the training cycle on digits, and why deep networks learn or do not."""

from __future__ import annotations

import argparse

from gradserve.cli import terminal
from gradserve.cli.connection import connect
from gradserve.cli.usage import UsageError


def run(options: argparse.Namespace) -> int:
    """Runs the parts; 1 if a gradient is not what it is by hand, a network learns too little, or a verdict is off."""
    to = terminal.console()
    from gradserve.demo.screen import Screen  # Both need rich, which the line above made sure of.
    from gradserve.demo.show import demonstrate

    with (
        Screen(to) as screen,
        connect(options.address, options.timeout, screen.say) as client,
    ):
        try:
            return 0 if demonstrate(screen, client, options.part, options.folder) else 1
        except OSError as error:
            raise UsageError(f"--folder {options.folder}: {error.strerror or error}") from error

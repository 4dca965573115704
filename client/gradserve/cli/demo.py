"""`gradserve demo`: gradients beside their closed form, then the training cycle on digits."""

from __future__ import annotations

import argparse

from gradserve.cli import terminal
from gradserve.cli.connection import connect


def run(options: argparse.Namespace) -> int:
    """Runs the parts; 1 if a gradient is not the closed form's or a network learns too little."""
    to = terminal.console()
    from gradserve.demo.screen import Screen  # Both need rich, which the line above made sure of.
    from gradserve.demo.show import demonstrate

    with (
        Screen(to) as screen,
        connect(options.address, options.timeout, screen.say) as client,
    ):
        return 0 if demonstrate(screen, client, options.part) else 1

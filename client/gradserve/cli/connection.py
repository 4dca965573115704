"""The way to a server: a running one at an address, or one of our own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import gradserve as gs


@contextmanager
def connect(address: str | None, timeout: float | None, say: Callable[[str], None]) -> Iterator[gs.Client]:
    """A client that tells `say` when the server compiles.

    Without `address` it starts a server beside this process and stops it at the end.
    """

    def on_compile() -> None:
        say("Compiling on the server, the first time only")

    if address is None:
        say("Starting a local server")
        made = gs.local(timeout=timeout, on_compile=on_compile)
    else:
        made = gs.Client(address, timeout=timeout, on_compile=on_compile)
    with made as client:
        yield client

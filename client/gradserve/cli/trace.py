"""`gradserve trace`: every value and gradient with its chain rule, as table, plot and page."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import gradserve as gs
from gradserve.cli import files, terminal, trace_table
from gradserve.cli.connection import connect
from gradserve.cli.usage import UsageError
from gradserve.trace_view.page import save_trace_page
from gradserve.trace_view.plot import save_trace_plot

PLOTS = (".png", ".svg", ".pdf")


def run(options: argparse.Namespace) -> int:
    """Traces, writes `--page` and `--plot`, prints the table and the verdict."""
    network, loss = files.network(options.network), files.loss(options.loss)
    weights, batch = files.weights(options.weights), files.batch(options.batch)
    for path in (options.page, options.plot):
        if not path.parent.is_dir():
            raise UsageError(f"{path}: there is no folder {path.parent}")
    if options.plot.suffix.lower() not in PLOTS:
        raise UsageError(f"--plot {options.plot}: expected a name that ends in {', '.join(PLOTS)}")
    with (
        terminal.Activity(terminal.console(stderr=True)) as activity,
        connect(options.address, options.timeout, activity.say) as client,
    ):
        trace = client.trace(
            network,
            weights,
            batch,
            loss=loss,
            whole_tensors_up_to=options.whole_tensors_up_to,
            names=options.names,
            mode=options.mode,
            seed=options.seed,
        )
    title = network.name or options.network.stem
    save(trace, title, options.page, options.plot)
    if options.json:
        said = {**trace_table.facts(trace), "page": str(options.page), "plot": str(options.plot)}
        print(json.dumps(said, indent=2, allow_nan=False))
        return 0
    to = terminal.console()
    trace_table.show(trace, to, whole=options.all)
    to.print(f"plot in {options.plot}", markup=False)
    to.print(f"page in {options.page}: open it in a browser", markup=False)
    return 0


def save(trace: gs.TraceResult, title: str, page: Path, plot: Path) -> None:
    """Writes both files.

    Raises:
        UsageError: one cannot be written.
    """
    try:
        save_trace_page(trace, page, title)
        save_trace_plot(trace, plot, title)
    except OSError as error:
        raise UsageError(f"{error.filename or page.parent}: {error.strerror or error}") from error

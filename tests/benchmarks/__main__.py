"""`make bench`: measures, prints a table, writes build/benchmarks.json and draws build/benchmarks.svg."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

import gradserve as gs
from tests.benchmarks.callers import measure_callers
from tests.benchmarks.derivatives import measure_derivatives
from tests.benchmarks.figures import measure_figures
from tests.benchmarks.health import measure_health
from tests.benchmarks.inline import measure_inline
from tests.benchmarks.memory import measure_memory
from tests.benchmarks.onnx_nodes import measure_onnx_nodes
from tests.benchmarks.peers.rows import measure_peers
from tests.benchmarks.phases import measure_phases
from tests.benchmarks.plots import draw_rows
from tests.benchmarks.resident import measure_resident
from tests.benchmarks.row import Row
from tests.benchmarks.sizes import measure_sizes
from tests.benchmarks.stream import measure_streams
from tests.benchmarks.tracing import measure_traces

OUTPUT = Path("build/benchmarks.json")
PLOT = Path("build/benchmarks.svg")
MEASUREMENTS = (
    measure_inline,
    measure_callers,
    measure_streams,
    measure_health,
    measure_peers,
    measure_phases,
    measure_derivatives,
    measure_traces,
    measure_memory,
    measure_sizes,
    measure_resident,
    measure_onnx_nodes,
    measure_figures,
)


def main() -> int:
    """Runs the rows whose name contains `--only`; all without it."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--only", default="", help="part of the names of the rows to run")
    only = parser.parse_args().only
    # For served calls and floors alike: else page faults are what is measured.
    gs.keep_freed_memory()
    rows = [row for measure in MEASUREMENTS for row in measure(only)]
    if not rows:
        print(f"no benchmark has a name with '{only}' in it", file=sys.stderr)
        return 2
    OUTPUT.parent.mkdir(exist_ok=True)
    OUTPUT.write_text(json.dumps([row.as_json() for row in rows], indent=2) + "\n")
    show(rows)
    if draw_rows(rows, PLOT):
        print(f"drawn in {PLOT}")
    return 0 if all(row.holds for row in rows) else 1


def show(rows: list[Row]) -> None:
    """Prints the table."""
    table = Table(title="benchmarks: each a ratio of two things measured in this run")
    for name in ("row", "value", "reference", "ratio", "target", "holds"):
        table.add_column(name, justify="left" if name == "row" else "right", no_wrap=True)
    for row in rows:
        table.add_row(
            row.name,
            f"{row.value:.3f} {row.unit}",
            f"{row.reference:.3f} {row.unit}",
            f"{row.ratio:.2f}",
            "shown" if row.target is None else f"{row.target:.2f}",
            "yes" if row.holds else "NO",
        )
    console = Console(width=120)
    console.print(table)
    console.print(f"written to {OUTPUT}")


if __name__ == "__main__":
    sys.exit(main())

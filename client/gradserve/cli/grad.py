"""`gradserve grad`: a loss and its gradients, from files to a file."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

import gradserve as gs
from gradserve.cli import files, summary, terminal
from gradserve.cli.connection import connect
from gradserve.cli.usage import UsageError


def run(options: argparse.Namespace) -> int:
    """Computes, writes `--output` (and `--statistics`), prints the summary."""
    network, loss = files.network(options.network), files.loss(options.loss)
    weights, batch = files.weights(options.weights), files.batch(options.batch)
    for path in (options.output, options.statistics):
        if path is not None and not path.parent.is_dir():
            raise UsageError(f"{path}: there is no folder {path.parent}")
    with (
        terminal.Activity(terminal.console(stderr=True)) as activity,
        connect(options.address, options.timeout, activity.say) as client,
    ):
        result = client.gradients(
            network,
            weights,
            batch,
            loss=loss,
            parameters=options.parameters,
            inputs=options.inputs,
            mode=options.mode,
            seed=options.seed,
            clip_global_norm=options.clip_global_norm,
        )
    # No name is both a parameter's and an input's: names are unique in a graph.
    gradients = {**result.gradients, **result.input_gradients}
    _save(gradients, options.output)
    if options.statistics is not None:
        _save(result.updated_statistics, options.statistics)
    if options.json:
        said = {**summary.facts(result), "output": str(options.output)}
        print(json.dumps(said, indent=2, allow_nan=False))
        return 0
    to = terminal.console()
    summary.show(result, to, clipped_to=options.clip_global_norm)
    to.print(f"{terminal.count(len(gradients), 'gradient')} in {options.output}", markup=False)
    if options.statistics is not None:
        held = terminal.count(len(result.updated_statistics), "updated statistic")
        to.print(f"{held} in {options.statistics}", markup=False)
    return 0


def _save(tensors: Mapping[str, NDArray[Any]], path: Path) -> None:
    try:
        gs.save_weights(tensors, path)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror or error}") from error

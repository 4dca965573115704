"""What `gradserve trace` prints, for people and for scripts."""

from __future__ import annotations

import io
import json
import math

import numpy as np
from rich.console import Console

import gradserve as gs
from gradserve.cli import trace_table
from tests.unit.trace_view import samples


def shown(trace: gs.TraceResult, *, whole: bool = False) -> str:
    file = io.StringIO()
    trace_table.show(trace, Console(file=file, width=120), whole=whole)
    return file.getvalue()


def test_each_value_has_a_row_with_its_numbers_and_chain_rule() -> None:
    text = shown(samples.worked_example())
    for word in ("0.462856254", "w2h1", "arithmetic:multiply", "-0.407569", "0.629483", "[]", "parameter"):
        assert word in text
    assert "dL/dw2 = dL/dw2h1 * h1 = -0.3705 * 1.1 = -0.4076" in text
    assert "dL/dy = -1/y = -1.589" in text
    assert "none" in text  # The target's gradient.


def test_the_verdict_comes_with_places_and_advice() -> None:
    text = shown(samples.sigmoid_layers(20))
    verdict = text[text.index("Vanishing") :]
    for word in ("shrink", "0.21 times", "layers/12/dense", "skip connections (gs.residual)"):
        assert word in verdict


def test_tensors_tell_their_size_mean_range_zeros_and_what_is_not_finite() -> None:
    half = np.float32([[0.0, 3.0], [0.0, math.nan]])
    text = shown(samples.trace(1.0, [samples.value("h", "relu", [], half, np.zeros((2, 2), np.float32))]))
    for word in ("[2, 2]", "rms 1.73", "1 ± 1.41", "0 to 3", "50 % zero", "1 not finite", "0 everywhere"):
        assert word in text


def test_the_middle_of_a_repeated_block_is_left_out_unless_asked_for() -> None:
    trace = samples.sigmoid_layers(20)
    text = shown(trace)
    assert "... 16 layers, layers/2 to layers/17 (--all shows them)" in " ".join(text.split())
    assert "layers/1/dense" in text
    assert "layers/2/dense" not in text
    assert "layers/18/dense" in text
    assert list(trace_table.listed(trace, whole=True)) == list(trace.values)


def test_short_blocks_are_shown_whole() -> None:
    trace = samples.sigmoid_layers(5)
    assert list(trace_table.listed(trace, whole=False)) == list(trace.values)


def test_markup_in_names_is_printed_as_it_is() -> None:
    one = np.float32([1.0])
    flow = samples.Flow(verdict=samples.Flow.VERDICT_VANISHING, places=["[red]p"], advice=["[bold]a"])
    text = shown(samples.trace(1.0, [samples.value("[red]x[/]", "[b]", [], one, one, "[link]")], flow))
    for word in ("[red]x[/]", "[b]", "[link]", "[red]p", "[bold]a"):
        assert word in text


def test_facts_are_json_and_numbers_that_are_not_finite_are_null() -> None:
    broken = np.float32([math.nan, 1.0])
    trace = samples.trace(math.inf, [samples.value("h", "relu", ["x"], broken, None, "none: a target")])
    said = json.loads(json.dumps(trace_table.facts(trace), allow_nan=False))
    assert said["loss"] is None
    (value,) = said["values"]
    assert value["value"]["shape"] == [2]
    assert value["value"]["data_type"] == "float32"
    assert (value["value"]["mean"], value["value"]["non_finite"]) == (1.0, 1)
    assert (value["gradient"], value["inputs"], value["chain_rule"]) == (None, ["x"], "none: a target")
    assert said["flow"] == {"verdict": "healthy", "factor_per_layer": 0.0, "places": [], "advice": []}

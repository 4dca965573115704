"""The plot of gradient size over depth."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gradserve as gs
from gradserve.trace_view.flow import points
from gradserve.trace_view.structure import structure
from tests.unit.trace_view import samples


def drawn(trace: gs.TraceResult) -> dict[str, list[list[float]]]:
    """Where the marks stand, by what the legend says of them."""
    (axes,) = gs.trace_plot(trace, "title").axes
    return {str(marks.get_label()): np.asarray(marks.get_offsets()).tolist() for marks in axes.collections}


def test_every_gradient_stands_at_its_depth_and_size() -> None:
    marks = drawn(samples.worked_example())
    assert set(marks) == {"values", "parameters"}
    assert np.array(marks["parameters"]) == pytest.approx(
        np.array([[1, 0.222310], [2, 0.111155], [4, 0.407569], [5, 0.370517]]), abs=1e-6
    )
    assert np.array(marks["values"])[-1] == pytest.approx([6, 1.588604], abs=1e-6)


def test_zeros_and_what_is_not_finite_are_marked_apart() -> None:
    def of(name: str, size: float) -> Any:
        gradient = np.float32([size, 1.0 if size else 0.0])
        return samples.value(name, "relu", [], np.float32([1.0, 1.0]), gradient)

    marks = drawn(samples.trace(1.0, [of("a", 1.0), of("b", 0.0), of("c", math.inf), of("d", math.nan)]))
    assert len(marks["values"]) == 1
    (zero, infinite, nan) = marks["values, exactly 0 or not finite"]
    assert zero[1] < 1.0 < infinite[1] == nan[1]


def test_the_largest_and_smallest_numbers_that_there_are_fit() -> None:
    one = np.float64([1.0])
    values = [samples.value(str(size), "relu", [], one, np.float64([size])) for size in (5e-324, 1e300)]
    gs.trace_plot(samples.trace(1.0, values)).canvas.draw()


def test_a_stacked_parameter_gives_way_to_its_layers_and_integers_have_no_point() -> None:
    one = np.float32([1.0])
    values = [
        samples.value("ids", "input", [], np.int32([1]), None),
        samples.value("w", "parameter", [], one, one),
        samples.value("block/0/w", "parameter", ["w"], one, one),
        samples.value("block/0/y", "multiply", ["ids", "block/0/w"], one, one),
    ]
    trace = samples.trace(1.0, values)
    shown = points(trace, structure(trace.values))
    assert [(trace.values[point.index].name, point.depth, point.of) for point in shown] == [
        ("block/0/w", 1, "parameter"),
        ("block/0/y", 1, "value"),
    ]


def test_the_verdict_and_the_places_are_on_the_plot() -> None:
    (axes,) = gs.trace_plot(samples.sigmoid_layers(20), "sigmoid").axes
    assert axes.get_title(loc="left").startswith("sigmoid\nVanishing.")
    place = next(line for line in axes.lines if line.get_label() == "where it breaks down")
    assert list(np.asarray(place.get_xdata())) == [25, 25]


@pytest.mark.parametrize("values", [[], ["x"]])
def test_a_trace_without_gradients_has_a_plot_too(values: list[str], tmp_path: Path) -> None:
    made = [samples.value(name, "input", [], np.int32([1]), None) for name in values]
    gs.save_trace_plot(samples.trace(1.0, made), tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 1000


def test_the_plot_is_a_picture(tmp_path: Path) -> None:
    gs.save_trace_plot(samples.sigmoid_layers(20), tmp_path / "plot.png", "sigmoid")
    content = (tmp_path / "plot.png").read_bytes()
    assert content.startswith(b"\x89PNG")
    assert len(content) < 200_000


def test_without_matplotlib_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(gs.MissingExtra, match=r"gradserve\[cli\]"):
        gs.trace_plot(samples.worked_example())

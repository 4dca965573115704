"""The summary of a result, for people and for scripts."""

import io
import json
import math

import numpy as np
import pytest
from rich.console import Console

import gradserve as gs
from gradserve.cli import describe, summary


def _result(loss: float = 0.5) -> gs.GradientResult:
    kernel = np.array([[3.0, 4.0]], np.float32)
    broken = np.array([math.nan, 0.0], np.float32)
    return gs.GradientResult(
        loss=loss,
        gradients={"dense_1/kernel": kernel, "dense_1/bias": broken},
        input_gradients={"x": np.array([[[1.0, 2.0], [2.0, 4.0]]])},
        outputs={},
        updated_statistics={},
        summary=gs.GradientSummary(math.nan, {"dense_1/bias": math.nan, "dense_1/kernel": 5}, False),
        weight_sum=1.0,
        terms={"[bold]fit": 0.25},
        timing=gs.Timing(queue=0.001, compile=1.5, execute=0.002),
        safetensors=b"",
    )


def test_json_has_every_number_and_null_for_what_is_not_finite() -> None:
    facts = json.loads(json.dumps(summary.facts(_result(math.inf)), allow_nan=False))
    assert (facts["loss"], facts["global_norm"], facts["finite"]) == (None, None, False)
    bias, kernel, x = facts["gradients"]
    assert bias == {
        "name": "dense_1/bias",
        "of": "parameter",
        "shape": [2],
        "data_type": "float32",
        "norm": None,
        "finite": False,
    }
    assert (kernel["norm"], kernel["finite"]) == (5.0, True)
    assert (x["of"], x["norm"], x["data_type"]) == ("input", 5.0, "float64")
    assert facts["seconds"] == {"queue": 0.001, "compile": 1.5, "execute": 0.002}


@pytest.mark.parametrize("width", [40, 80])
def test_tables_show_names_as_they_are_and_fit(width: int) -> None:
    file = io.StringIO()
    summary.show(_result(), Console(file=file, width=width))
    shown = file.getvalue()
    assert "[bold]fit" in shown
    assert max(map(len, shown.splitlines())) <= width
    assert "\x1b" not in shown
    if width == 80:
        for fact in ("0.5", "dense_1/kernel", "[1, 2]", "nan", "✗", "✓", "x (input)", "1.50 s"):
            assert fact in shown


def test_a_description_shows_shapes_counts_and_what_does_not_fit() -> None:
    form = np.dtype(np.float32)
    description = gs.NetworkDescription(
        inputs=(gs.TensorInfo("x", form, ("batch", 64)),),
        outputs=(gs.TensorInfo("y", form, ("batch", 10)),),
        parameters=(gs.TensorInfo("dense_1/kernel", form, (64, 10)),),
        statistics=(gs.TensorInfo("norm/mean", form, (64,)),),
        parameter_count=640,
        flops=123_456,
        memory=(gs.MemoryPlan("off", 3 * 2**20, False),),
        digest="",
    )
    file = io.StringIO()
    describe.show(description, Console(file=file, width=80, highlight=False))
    shown = file.getvalue()
    for fact in ("[batch, 64]", "[64, 10]", "640", "norm/mean", "123,456", "3.0 MiB", "more than"):
        assert fact in shown
    assert describe.facts(description)["memory"] == [{"checkpointing": "off", "peak_bytes": 3 * 2**20, "fits": False}]

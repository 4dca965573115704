"""Where everything stands on the page: groups open and closed, whatever the size of the trace."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gradserve as gs
from gradserve.trace_view.data import page_data
from tests.unit.trace_view import samples
from tests.unit.trace_view.page_script import PageScript

ARRANGE = """
const model = readModel(a);
const scene = arrange(model, new Set(b ?? [...model.groups.keys()]), (text) => 7 * text.length);
return {
  ...scene,
  boxes: scene.boxes.map((box) => ({
    ...box,
    value: box.value?.name ?? null,
    group: box.group?.path ?? null,
    owner: box.owner?.name ?? null,
  })),
  frames: scene.frames.map((frame) => ({ ...frame, group: frame.group.path })),
};
"""


def arrange(script: PageScript, trace: gs.TraceResult, opened: list[str] | None) -> dict[str, Any]:
    scene: dict[str, Any] = script.call(ARRANGE, page_data(trace, "test"), opened)
    return scene


def overlap(one: dict[str, Any], other: dict[str, Any]) -> bool:
    apart = (
        one["x"] + one["width"] <= other["x"] + 1e-6
        or other["x"] + other["width"] <= one["x"] + 1e-6
        or one["y"] + one["height"] <= other["y"] + 1e-6
        or other["y"] + other["height"] <= one["y"] + 1e-6
    )
    return not apart


def test_the_worked_example_has_a_box_and_a_wire_for_each_value(script: PageScript) -> None:
    scene = arrange(script, samples.worked_example(), None)
    names = [box["value"] for box in scene["boxes"]]
    assert names == ["x", "w1", "w1x", "b1", "z1", "h1", "w2", "w2h1", "b2", "z2", "y", "target", "loss"]
    assert len(scene["wires"]) == 12
    assert all(wire["label"] for wire in scene["wires"])
    assert not any(overlap(one, other) for at, one in enumerate(scene["boxes"]) for other in scene["boxes"][at + 1 :])


def test_a_closed_block_is_one_box_and_an_open_one_a_row_for_each_layer(script: PageScript) -> None:
    trace = samples.sigmoid_layers(20)
    closed = arrange(script, trace, [])
    assert [box["value"] or box["group"] for box in closed["boxes"]] == ["x", "layers", "loss"]
    layers = arrange(script, trace, ["layers"])
    rows = [box for box in layers["boxes"] if box.get("row")]
    assert [row["group"] for row in rows] == [f"layers/{at}" for at in range(20)]
    assert [row["y"] for row in rows] == sorted(row["y"] for row in rows)
    assert [frame["group"] for frame in layers["frames"]] == ["layers"]
    # Into the block, between its layers, and out of it.
    assert len(layers["wires"]) == 2 + 19 + 2


@pytest.mark.parametrize("residual", [False, True])
def test_open_frames_hold_their_boxes_and_nothing_overlaps(script: PageScript, residual: bool) -> None:
    scene = arrange(script, samples.sigmoid_layers(6, residual=residual), None)
    frames = {frame["group"]: frame for frame in scene["frames"]}
    assert set(frames) == {"layers", *(f"layers/{at}" for at in range(6))}
    for box in scene["boxes"]:
        for path, frame in frames.items():
            if box["value"].startswith(f"{path}/"):
                assert frame["x"] <= box["x"]
                assert box["x"] + box["width"] <= frame["x"] + frame["width"]
                assert frame["y"] <= box["y"]
                assert box["y"] + box["height"] <= frame["y"] + frame["height"]
            else:
                assert not overlap(box, frame)
    boxes = [box for box in scene["boxes"] if box["owner"] is None]
    assert not any(overlap(one, other) for at, one in enumerate(boxes) for other in boxes[at + 1 :])
    assert max(box["x"] + box["width"] for box in scene["boxes"]) <= scene["width"]


def test_parameters_of_one_operation_are_rows_in_its_box(script: PageScript) -> None:
    boxes = {box["value"]: box for box in arrange(script, samples.sigmoid_layers(2), None)["boxes"]}
    kernel, dense = boxes["layers/1/dense/kernel"], boxes["layers/1/dense"]
    assert kernel["owner"] == "layers/1/dense"
    assert dense["y"] < kernel["y"] < kernel["y"] + kernel["height"] <= dense["y"] + dense["height"]
    assert (kernel["x"], kernel["width"]) == (dense["x"], dense["width"])


def test_parameters_of_all_layers_in_one_are_no_box(script: PageScript) -> None:
    one = np.float32([1.0])
    values = [samples.value("block/w", "parameter", [], one, one)]
    for at, before in (("0", "x"), ("1", "block/0/h")):
        values.append(samples.value(f"block/{at}/w", "parameter", ["block/w"], one, one))
        values.append(samples.value(f"block/{at}/h", "multiply", [before, f"block/{at}/w"], one, one))
    values.insert(0, samples.value("x", "input", [], one, one))
    scene = arrange(script, samples.trace(1.0, values), None)
    names = {box["value"] for box in scene["boxes"]}
    assert names == {"x", "block/0/w", "block/0/h", "block/1/w", "block/1/h", "loss"}


def test_two_thousand_values_are_arranged(script: PageScript) -> None:
    trace = samples.sigmoid_layers(500, width=2, residual=True)
    assert len(trace) == 2001
    scene = arrange(script, trace, None)
    assert len(scene["boxes"]) == 2002
    assert len(scene["frames"]) == 501
    assert scene["width"] < 800

"""A drawing in ranks: all edges run down, nothing overlaps, what is heavy runs straight."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.trace_view.page_script import PageScript

GAPS = {"across": 20, "along": 50, "bend": 10}
LAYOUT = "return layeredLayout(a, b, c);"
SAME_FIXTURE = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def layout(script: PageScript, nodes: list[dict[str, Any]], edges: list[tuple[int, int]]) -> dict[str, Any]:
    wires = [{"from": start, "to": end, "weight": 1} for start, end in edges]
    laid: dict[str, Any] = script.call(LAYOUT, nodes, wires, GAPS)
    return laid


def boxes(count: int, width: float = 80) -> list[dict[str, Any]]:
    return [{"width": width, "height": 40} for _ in range(count)]


@st.composite
def graphs(draw: st.DrawFn) -> tuple[list[dict[str, Any]], list[tuple[int, int]]]:
    count = draw(st.integers(1, 14))
    nodes = [{"width": draw(st.integers(10, 200)), "height": draw(st.integers(10, 60))} for _ in range(count)]
    pairs = [(start, end) for end in range(count) for start in range(end)]
    return nodes, draw(st.lists(st.sampled_from(pairs), unique=True, max_size=30)) if pairs else []


@SAME_FIXTURE
@given(graph=graphs())
def test_edges_run_down_and_boxes_stand_clear(
    script: PageScript, graph: tuple[list[dict[str, Any]], list[tuple[int, int]]]
) -> None:
    nodes, edges = graph
    laid = layout(script, nodes, edges)
    placed = [{**node, **at} for node, at in zip(nodes, laid["nodes"], strict=True)]
    for start, end in edges:
        assert placed[start]["y"] + placed[start]["height"] < placed[end]["y"]
    for at, one in enumerate(placed):
        assert -1e-6 <= one["x"] <= laid["width"] - one["width"] + 1e-6
        assert 0 <= one["y"] <= laid["height"] - one["height"] + 1e-6
        for other in placed[at + 1 :]:
            beside = one["x"] + one["width"] < other["x"] + 1e-6 or other["x"] + other["width"] < one["x"] + 1e-6
            above = one["y"] + one["height"] < other["y"] or other["y"] + other["height"] < one["y"]
            assert beside or above
    for (start, end), route in zip(edges, laid["routes"], strict=True):
        heights = [placed[start]["y"], *(point["y"] for point in route["points"]), placed[end]["y"]]
        assert heights == sorted(heights)
        # A branch leaves a trunk that another edge from the same box tells.
        others = [laid["routes"][at] for at, (other, _) in enumerate(edges) if other == start]
        trunks = [other["points"] for other in others if not other["branch"]]
        assert not route["branch"] or any(route["points"][0] in trunk for trunk in trunks)


@SAME_FIXTURE
@given(rows=st.lists(st.tuples(st.integers(-50, 50), st.integers(1, 9), st.integers(0, 20)), min_size=1, max_size=9))
def test_positions_are_the_least_squares_fit(script: PageScript, rows: list[tuple[int, int, int]]) -> None:
    wishes, weights, gaps = (np.array(column, float) for column in zip(*rows, strict=True))
    offsets = np.concatenate([[0], np.cumsum(gaps[1:])])
    shifted = wishes - offsets

    def mean(first: int, last: int) -> float:
        return float(np.average(shifted[first : last + 1], weights=weights[first : last + 1]))

    # Isotonic regression in closed form: the largest mean from the left of the smallest to the right.
    count = len(rows)
    expected = [
        max(min(mean(first, last) for last in range(at, count)) for first in range(at + 1)) + offsets[at]
        for at in range(count)
    ]
    got = script.call("return separate(a, b, c);", wishes.tolist(), weights.tolist(), gaps[1:].tolist())
    assert got == pytest.approx(expected, abs=1e-9)


def test_a_chain_is_a_straight_line_whatever_stands_beside_it(script: PageScript) -> None:
    nodes = boxes(60)
    edges = [{"from": at, "to": at + 2, "weight": 8} for at in range(0, 58, 2)]
    edges += [{"from": at + 1, "to": at + 2, "weight": 0.05} for at in range(0, 58, 2)]
    laid = script.call(LAYOUT, nodes, edges, GAPS)
    chain = [laid["nodes"][at]["x"] for at in range(0, 60, 2)]
    assert max(chain) - min(chain) < 5


def test_crossings_are_taken_out(script: PageScript) -> None:
    # Two pairs that cross as they are given.
    nodes = boxes(4)
    laid = layout(script, nodes, [(0, 3), (1, 2)])
    x = [node["x"] for node in laid["nodes"]]
    assert (x[0] - x[1]) * (x[3] - x[2]) > 0


def test_crossings_are_counted_right(script: PageScript) -> None:
    random = np.random.default_rng(0)
    pairs = sorted({(int(a), int(b)) for a, b in random.integers(0, 7, (25, 2))})
    graph: dict[str, Any] = {"ranks": [list(range(7)), list(range(7, 14))], "below": [[] for _ in range(14)]}
    for start, end in pairs:
        graph["below"][start].append({"id": 7 + end})
    crossings = sum((a - c) * (b - d) < 0 for at, (a, b) in enumerate(pairs) for c, d in pairs[at + 1 :])
    assert script.call("return countCrossings(a, b);", graph, [*range(7), *range(7)]) == crossings


def test_long_edges_of_one_source_share_a_trunk_and_few_bends_do_for_two_thousand_nodes(script: PageScript) -> None:
    count = 2000
    edges = [(at, at + 1) for at in range(count - 1)] + [(0, at) for at in range(2, count)]
    laid = layout(script, boxes(count), edges)
    assert laid["width"] < 1000  # It does not drift away sideways.
    assert sum(len(route["points"]) for route in laid["routes"]) < 2 * count
    assert math.isclose(laid["height"], count * 40 + (count - 1) * GAPS["along"])


def test_trunks_that_have_room_are_straight(script: PageScript) -> None:
    nodes = boxes(9)
    nodes[4]["width"] = 300
    edges = [{"from": at, "to": at + 1, "weight": 8} for at in range(8)] + [{"from": 0, "to": 8, "weight": 8}]
    laid = script.call(LAYOUT, nodes, edges, GAPS)
    points = laid["routes"][-1]["points"]
    assert len(points) == 7
    assert len({round(point["x"], 6) for point in points}) == 1


def test_ports_stand_at_the_edges(script: PageScript) -> None:
    nodes = [*boxes(3), {"width": 12, "height": 0, "top": True}, {"width": 12, "height": 0, "bottom": True}]
    laid = layout(script, nodes, [(3, 1), (0, 1), (1, 2), (2, 4), (3, 2)])
    assert laid["nodes"][3]["y"] == 0
    assert laid["nodes"][4]["y"] == laid["height"]


def test_nothing_at_all_is_a_drawing_too(script: PageScript) -> None:
    assert layout(script, [], []) == {"width": 0, "height": 0, "nodes": [], "routes": []}

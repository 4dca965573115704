"""The demo says so when a number is not what it should be."""

import dataclasses
import io
import math
from collections.abc import Callable
from typing import cast

import pytest
from rich.console import Console

import gradserve as gs
from gradserve.demo import chain_rule, deep, flow, worked_example
from gradserve.demo.outcome import Outcome
from gradserve.demo.screen import Screen
from tests.unit.trace_view import samples


def _shown(part: Callable[[Screen], Outcome]) -> tuple[bool, str]:
    file = io.StringIO()
    with Screen(Console(file=file, width=110)) as screen:
        outcome = part(screen)
    return outcome.holds, file.getvalue()


def _compare(monkeypatch: pytest.MonkeyPatch, y: float | None = None) -> tuple[bool, str]:
    """Part 1 with a trace built by hand in place of a server's, and with another gradient of y."""
    trace = samples.worked_example()
    if y is not None:
        gradient = trace["y"].gradient
        assert gradient is not None
        off = dataclasses.replace(trace["y"], gradient=dataclasses.replace(gradient, mean=y))
        values = tuple(off if value.name == "y" else value for value in trace)
        trace = dataclasses.replace(trace, values=values)
    monkeypatch.setattr(worked_example, "traced", lambda client, given: trace)
    return _shown(lambda screen: chain_rule.compare(screen, cast("gs.Client", None)))


def test_what_agrees_holds_and_every_number_is_shown_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    holds, shown = _compare(monkeypatch)
    assert holds
    assert "✗" not in shown
    assert shown.count("✓") == 5 + 9
    for number in ("0.629483112", "0.462856254", "-1.588604970", "-0.222310133", "-0.055577533"):
        assert shown.count(number) == 2


def test_each_gradient_comes_with_the_chain_rule_that_the_trace_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    _, shown = _compare(monkeypatch)
    for rule in (
        "dL/dy = -1/y = -1.589",
        "dL/dz2 = dL/dy * y * (1 - y) = -1.589 * 0.2332 = -0.3705",
        "dL/dw1 = dL/dw1x * x = -0.1112 * 2.0 = -0.2223",
    ):
        assert rule in shown


@pytest.mark.parametrize("wrong", [-1.588607, math.nan, math.inf])
def test_one_number_that_is_off_fails(wrong: float, monkeypatch: pytest.MonkeyPatch) -> None:
    holds, shown = _compare(monkeypatch, wrong)
    assert not holds
    assert shown.count("✗") == 1


@pytest.mark.parametrize(
    ("stuck", "learns", "holds"), [(2.4, 1.2, True), (1.3, 1.2, False), (2.4, 2.3, False), (2.4, math.nan, False)]
)
def test_training_must_come_out_as_the_verdicts_say(stuck: float, learns: float, holds: bool) -> None:
    losses = {"Sigmoid": [2.5] * 25 + [stuck] * 5, "Residual": [3.0] * 25 + [learns] * 5}
    outcome = flow.judge_training(losses, "Sigmoid", "Residual")
    assert outcome.holds is holds
    assert f"{stuck:.2f}" in outcome.said


def test_three_networks_differ_in_nothing_but_their_layers() -> None:
    networks = [deep.sigmoid(), deep.badly_scaled(), deep.residual()]
    assert [one.expected for one in networks] == ["vanishing", "exploding", "healthy"]
    for one in networks:
        (block,) = [node for node in one.network.graph.nodes if node.name == deep.LAYER]
        assert block.block.repeat == deep.LAYERS == 100
        assert one.network.inputs == networks[0].network.inputs


def test_sizes_are_those_of_what_flows_through_each_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deep, "LAYERS", 20)
    trace = samples.sigmoid_layers(20)
    sizes = deep.sizes_by_layer(trace)
    gradient = trace["layers/19/sigmoid"].gradient
    assert gradient is not None
    assert sizes[19] == gradient.root_mean_square
    assert sizes == sorted(sizes)

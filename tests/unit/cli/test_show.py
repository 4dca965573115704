"""The demo says so when a number is not what it should be."""

import io
import math
from typing import cast

import pytest
from rich.console import Console

import gradserve as gs
from gradserve.demo import show, worked_example
from gradserve.demo.screen import Screen


def _compare(monkeypatch: pytest.MonkeyPatch, **changes: float) -> tuple[bool, str]:
    """Part 1 with numbers in place of a server's."""
    served = {row.name: row.value for row in worked_example.closed_form(worked_example.Numbers())}
    monkeypatch.setattr(worked_example, "served", lambda client, given: served | changes)
    file = io.StringIO()
    with Screen(Console(file=file, width=80)) as screen:
        outcome = show.compare(screen, cast("gs.Client", None))
    return outcome.holds, file.getvalue()


def test_what_agrees_holds_and_every_number_is_shown_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    holds, shown = _compare(monkeypatch)
    assert holds
    assert "✗" not in shown
    for number in ("0.629483112", "0.462856254", "-0.222310133", "-0.055577533"):
        assert shown.count(number) == 2


@pytest.mark.parametrize("wrong", [0.629486, math.nan, math.inf])
def test_one_number_that_is_off_fails(wrong: float, monkeypatch: pytest.MonkeyPatch) -> None:
    holds, shown = _compare(monkeypatch, y=wrong)
    assert not holds
    assert shown.count("✗") == 1


def test_the_worked_example_is_a_network_in_float64_with_its_steps_as_outputs() -> None:
    network = worked_example.network()
    assert network.outputs == ("z1", "h1", "z2", "y")
    assert [str(one) for one in network.inputs] == ["x: float64[batch]"]

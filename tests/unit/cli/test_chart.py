"""Charts of characters."""

import io
import math

import pytest
from rich.console import Console

from gradserve.demo.chart import bars, curves

WIDE = Console(file=io.StringIO(), width=100)
ASCII = Console(file=io.TextIOWrapper(io.BytesIO(), encoding="ascii"), width=100)


def test_bars_tell_decades_and_zeros() -> None:
    assert bars([1.0, 1e-3, 1e-6, 1e-12, 1e-30, 0.0], 6, WIDE) == "█▆▄   "
    assert bars([1e-40] * 3, 3, WIDE) == "███"
    assert bars([0.0, 1.0, math.inf], 3, WIDE) == " ██"


def test_a_bar_is_the_largest_of_its_part() -> None:
    assert bars([1.0, 0.0, 0.0, 0.0], 2, WIDE) == "█ "
    assert bars([], 5, WIDE) == ""


def test_bars_and_curves_keep_to_ascii_where_they_must() -> None:
    assert bars([1.0, 1e-6], 2, ASCII).isascii()
    assert curves({"a": [1.0, 2.0]}, ASCII).plain.isascii()


def test_curves_stand_where_their_numbers_are() -> None:
    lines = curves({"falls": [3.0, 2.0, 1.0], "stays": [3.0, 3.0, 3.0]}, WIDE, height=3, width=5).plain.splitlines()
    assert lines[:3] == ["   3.000 │○ ○ ○", "         │  ●  ", "   1.000 │    ●"]
    assert lines[3].endswith("└─────")
    assert "● falls" in lines[-1]
    assert "○ stays" in lines[-1]


@pytest.mark.parametrize("numbers", [[], [1.0], [math.nan, math.inf], [2.0, 2.0]])
def test_any_numbers_make_a_chart(numbers: list[float]) -> None:
    assert curves({"line": numbers}, WIDE, height=4, width=10).plain.count("│") == 4

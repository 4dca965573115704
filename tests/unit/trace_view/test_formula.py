"""Chain rules as formulas: fractions of names that exist, and the text between as it was."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.trace_view.page_script import PageScript

NAMES = ["w1", "z1", "layers/3/dense", "layers/3/dense/kernel", "loss:error", "d/dx"]


def parts(script: PageScript, text: str) -> list[Any]:
    read = script.call("return formulaParts(a, new Set(b));", text, NAMES)
    return [(one["top"], one["bottom"]) if "top" in one else one["text"] for one in read]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("dL/dw1 = dL/dz1 * x", [("L", "w1"), " = ", ("L", "z1"), " * x"]),
        ("dL/dlayers/3/dense/kernel", [("L", "layers/3/dense/kernel")]),
        ("see dL/dlayers/3/dense.", ["see ", ("L", "layers/3/dense"), "."]),
        ("dz1/dw1 = x", [("z1", "w1"), " = x"]),
        ("dlayers/3/dense/dw1", [("layers/3/dense", "w1")]),
        ("dL/dloss:error: sum", [("L", "loss:error"), ": sum"]),
        ("dL/d[layers/3/dense] = dL/dz1", [("L", "layers/3/dense"), " = ", ("L", "z1")]),
        ("d[layers/3/dense]/dw1.", [("layers/3/dense", "w1"), "."]),
        ("dL/d[unknown] stays", ["dL/d[unknown] stays"]),
        ("dL/dL = 1", [("L", "L"), " = 1"]),
        ("dL/dunknown stays", ["dL/dunknown stays"]),
        ("dL/dw12 stays", ["dL/dw12 stays"]),
        ("a target has no gradient", ["a target has no gradient"]),
        ("dL/dd/dx", [("L", "d/dx")]),
        ("", []),
    ],
)
def test_parts(script: PageScript, text: str, expected: list[Any]) -> None:
    assert parts(script, text) == expected


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("a = b * c = 2 * 3 = 6", ["a = b * c ", "= 2 * 3 ", "= 6"]),
        ("a = sum(i = 1 to n) b = c", ["a = sum(i = 1 to n) b ", "= c"]),
        ("a = [b >= 0] * c", ["a = [b >= 0] * c"]),
        ("a = b >= c", ["a = b >= c"]),
        ("one\ntwo = 2", ["one", "two = 2"]),
    ],
)
def test_each_step_has_a_line(script: PageScript, text: str, lines: list[str]) -> None:
    read = script.call("return formulaLines([{ text: a }]);", text)
    assert ["".join(part["text"] for part in line) for line in read] == lines


@pytest.mark.parametrize(
    ("number", "digits", "text"),
    [
        (0.6294831, 4, "0.6295"),
        (-0.37051, 3, "−0.371"),
        (-1.588604, 4, "−1.589"),
        (1.1, 4, "1.1"),
        (0.33, 4, "0.33"),
        (1e-5, 4, "1e−5"),
        (-1.23456e-45, 3, "−1.23e−45"),
        (123456.789, 4, "1.235e5"),
        (42, 4, "42"),
        (0, 4, "0"),
        (2000, 4, "2000"),
        (100.04, 3, "100"),
    ],
)
def test_numbers_are_short(script: PageScript, number: float, digits: int, text: str) -> None:
    assert script.call("return short(a, b);", number, digits) == text


@pytest.mark.parametrize(("given", "text"), [("nan", "NaN"), ("inf", "∞"), ("-inf", "−∞")])
def test_numbers_that_are_not_finite_are_told(script: PageScript, given: str, text: str) -> None:
    assert script.call("return short(readNumber(a));", given) == text

"""The page as a file: what it holds, that it needs nothing else, and that names are nothing but data."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gradserve as gs
from tests.unit.trace_view import samples

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(1)>\u2028&amp;\"'"
NINE = {
    "y": -1.588604,
    "z2": -0.370517,
    "w2": -0.407569,
    "h1": -0.111155,
    "b2": -0.370517,
    "z1": -0.111155,
    "w1": -0.222310,
    "b1": -0.111155,
    "x": -0.055578,
}


class Reader(HTMLParser):
    """Elements of a page with their attributes and text, as a browser would take them apart."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None], list[str]]] = []
        self._inside = False
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs), []))
        self._inside = True

    def handle_endtag(self, tag: str) -> None:
        self._inside = False

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.elements[-1][2].append(data)

    def texts(self, tag: str, **attributes: str) -> list[str]:
        return [
            "".join(text)
            for name, found, text in self.elements
            if name == tag and all(found.get(key) == value for key, value in attributes.items())
        ]

    @property
    def data(self) -> dict[str, Any]:
        (text,) = self.texts("script", id="trace")
        held: dict[str, Any] = json.loads(text)
        return held


@pytest.fixture(scope="module")
def page() -> Reader:
    return Reader(gs.trace_page(samples.worked_example(), "worked_example"))


def test_the_page_holds_the_numbers_of_the_worked_example(page: Reader) -> None:
    values = {value["name"]: value for value in page.data["values"]}
    assert page.data["loss"] == pytest.approx(0.462856, abs=1e-6)
    for name, gradient in NINE.items():
        assert values[name]["gradient"]["mean"] == pytest.approx(gradient, abs=1e-6)
        assert values[name]["gradient_tensor"]["elements"] == [values[name]["gradient"]["mean"]]
        assert values[name]["chain_rule"].startswith(f"dL/d{name} = ")
    assert values["z2"]["chain_rule"] == "dL/dz2 = dL/dy * y * (1 - y) = -1.589 * 0.2332 = -0.3705"


def test_the_graph_on_the_page_ends_in_the_loss(page: Reader) -> None:
    values = page.data["values"]
    names = [value["name"] for value in values]
    assert names[-1] == "loss"
    assert [names[at] for at in values[-1]["inputs"]] == ["y", "target"]
    edges = {(names[at], value["name"]) for value in values for at in value["inputs"]}
    assert {("x", "w1x"), ("w1", "w1x"), ("w1x", "z1"), ("b1", "z1"), ("z1", "h1"), ("z2", "y")} <= edges


def test_the_page_needs_nothing_else(page: Reader) -> None:
    for tag, attributes, text in page.elements:
        assert tag not in {"link", "iframe", "object", "embed", "base", "img"}
        assert not {"src", "href", "srcset", "action", "style"} & set(attributes)
        assert not [name for name in attributes if name.startswith("on")]
        if tag in {"script", "style"} and attributes.get("id") != "trace":
            addresses = re.findall(r"\w+://[^\s\"']+", "".join(text))
            assert set(addresses) <= {"http://www.w3.org/2000/svg"}  # A name, not an address.
            assert not re.search(r"@import|url\((?!#)|fetch\(|XMLHttpRequest|import\(|eval\(", "".join(text))


def test_its_own_scripts_and_style_are_all_that_runs(page: Reader) -> None:
    (policy,) = [a["content"] for tag, a, _ in page.elements if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy is not None
    assert policy.startswith("default-src 'none';")
    assert "unsafe" not in policy
    allowed = set(re.findall(r"'sha256-([^']+)'", policy))
    scripts = [text for tag, a, text in page.elements if tag == "script" and a.get("type") is None]
    styles = [text for tag, _, text in page.elements if tag == "style"]
    inline = ["".join(text) for text in [*scripts, *styles]]
    assert {base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in inline} == allowed


def test_names_are_data_and_never_markup() -> None:
    one = np.float32([1.0])
    values = [samples.value(HOSTILE, HOSTILE, [], one, one, HOSTILE)]
    plain = Reader(gs.trace_page(samples.trace(1.0, [samples.value("x", "input", [], one, one)]), "x"))
    hostile = Reader(gs.trace_page(samples.trace(1.0, values), HOSTILE))
    assert [tag for tag, _, _ in hostile.elements] == [tag for tag, _, _ in plain.elements]
    assert hostile.data["values"][0]["name"] == HOSTILE
    assert hostile.data["values"][0]["chain_rule"] == HOSTILE
    assert hostile.data["title"] == HOSTILE


def test_numbers_that_are_not_finite_and_whole_numbers_survive() -> None:
    broken = np.array([np.nan, np.inf, -np.inf, 1.0], np.float32)
    values = [
        samples.value("h", "relu", [], broken, broken),
        samples.value("ids", "input", [], np.array([2**60, -1]), None),
        samples.value("mask", "input", [], np.array([True, False]), None),
    ]
    held = Reader(gs.trace_page(samples.trace(float("inf"), values))).data
    h, ids, mask, loss = held["values"]
    assert held["loss"] == "inf"
    assert h["value_tensor"]["elements"] == ["nan", "inf", "-inf", 1.0]
    assert (h["gradient"]["non_finite"], loss["value"]["non_finite"]) == (3, 1)
    assert (ids["value_tensor"]["elements"], ids["gradient"]) == ([2**60, -1], None)
    assert mask["value_tensor"]["elements"] == [True, False]


def test_elements_have_no_more_digits_than_their_type_tells_apart() -> None:
    tenth = [samples.value("h", "relu", [], np.full(1, 0.1, dtype), None) for dtype in (np.float32, np.float64)]
    held = Reader(gs.trace_page(samples.trace(0.0, tenth))).data
    assert [value["value_tensor"]["elements"] for value in held["values"][:2]] == [[0.1], [0.1]]


def test_a_page_of_two_thousand_values_stays_small() -> None:
    page = gs.trace_page(samples.sigmoid_layers(500, width=2, residual=True))
    assert len(Reader(page).data["values"]) == 2002
    assert len(page) < 4_000_000


def test_the_page_is_saved(tmp_path: Path) -> None:
    trace = samples.worked_example()
    gs.save_trace_page(trace, tmp_path / "trace.html", "worked_example")
    assert (tmp_path / "trace.html").read_text(encoding="utf-8") == gs.trace_page(trace, "worked_example")

"""The page in a headless Chromium, where one is installed: what a reader sees, and that nothing else runs."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gradserve as gs
from gradserve.trace_view import page as page_of
from tests.unit.trace_view import samples
from tests.unit.trace_view.test_page import HOSTILE, Reader

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), "")
QUIET = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --virtual-time-budget=2000 --window-size=1440,900"
)
# The gradients of y, z2, w2, h1, b2, z1, w1, b1 and x, as the page writes them.
NINE = ["−1.589", "−0.3705", "−0.4076", "−0.1112", "−0.3705", "−0.1112", "−0.2223", "−0.1112", "−0.05558"]
pytestmark = pytest.mark.skipif(not CHROMIUM, reason="no Chromium is installed")


def rendered(trace: gs.TraceResult, folder: Path, title: str = "worked_example") -> Reader:
    """The page after its scripts have run."""
    gs.save_trace_page(trace, folder / "trace.html", title)
    done = subprocess.run(
        [
            CHROMIUM,
            *QUIET.split(),
            f"--user-data-dir={folder / 'profile'}",
            "--dump-dom",
            f"file://{folder}/trace.html",
        ],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    page = Reader(done.stdout)
    (root,) = [attributes for tag, attributes, _ in page.elements if tag == "html"]
    assert "data-ready" in root  # Its script ran to its end.
    return page


def acted(body: str, trace: gs.TraceResult, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """What a function of this body gives when the page has started."""
    asset = page_of._asset
    act = f"""
    document.documentElement.dataset.said = JSON.stringify((() => {{ {body} }})());
    """
    monkeypatch.setattr(page_of, "_asset", lambda name: asset(name) + (act if name == "main.js" else ""))
    (root,) = [attributes for tag, attributes, _ in rendered(trace, folder).elements if tag == "html"]
    return json.loads(str(root["data-said"]))


def nodes(page: Reader) -> dict[str, str]:
    """What a screen reader says of each box, by its name or path."""
    return {
        str(attributes.get("data-name") or attributes["data-path"]): str(attributes["aria-label"])
        for tag, attributes, _ in page.elements
        if tag == "button" and ("data-name" in attributes or "data-path" in attributes)
    }


def test_the_worked_example_shows_its_numbers_on_edges_and_as_formula(tmp_path: Path) -> None:
    page = rendered(samples.worked_example(), tmp_path)
    shown = {
        (str(attributes["data-of"]), "gradient" if "gradient" in str(attributes["class"]) else "value"): "".join(text)
        for tag, attributes, text in page.elements
        if tag == "text" and "data-of" in attributes
    }
    order = ["y", "z2", "w2", "h1", "b2", "z1", "w1", "b1", "x"]
    assert [shown[name, "gradient"] for name in order] == NINE
    assert {name: shown[name, "value"] for name in ("x", "w1", "z1", "h1", "z2", "y")} == {
        "x": "2",
        "w1": "0.5",
        "z1": "1.1",
        "h1": "1.1",
        "z2": "0.53",
        "y": "0.6295",
    }
    assert nodes(page)["w2"] == "w2, parameter, value 0.3, gradient −0.4076"
    assert nodes(page)["loss"] == "loss, loss, value 0.4629, gradient 1"
    # The first parameter is picked: its chain rule stands as a formula.
    (formula,) = [a for _, a, _ in page.elements if a.get("class") == "formula"]
    assert formula["aria-label"] == "dL/dw1 = dL/dw1x * x = -0.1112 * 2.0 = -0.2223"
    fractions = [a.get("title") for _, a, _ in page.elements if a.get("class") == "fraction"]
    assert fractions == ["dL/dw1", "dL/dw1x"]
    assert page.texts("p", id="verdict") == ["Healthy"]
    assert len([tag for tag, a, _ in page.elements if a.get("class") in {"plot-value", "plot-parameter"}]) == 11


def test_a_hundred_layers_come_as_rows(tmp_path: Path) -> None:
    page = rendered(samples.sigmoid_layers(100), tmp_path)
    shown = nodes(page)
    assert list(shown)[:2] == ["layers", "x"]
    assert [name for name in shown if re.fullmatch(r"layers/\d+", name)] == [f"layers/{at}" for at in range(100)]
    assert shown["layers/0"] == "layers/0, 3 values, gradient 0"
    assert shown["layers/99"].startswith("layers/99, 3 values, gradient 0.04")
    assert page.texts("p", id="verdict") == ["Vanishing"]
    assert "layers/92/dense" in page.texts("button", **{"class": "link"})


def test_keys_lead_along_the_graph_and_open_and_close_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = acted(
        """
        const here = () => document.activeElement.dataset.name ?? document.activeElement.dataset.path;
        const press = (key) =>
          document.activeElement.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
        document.querySelector("#scene [tabindex='0']").focus();
        const way = [here()];
        for (const arrow of ["Up", "Up", "Down", "Down", "Down", "Up"]) {
          press(`Arrow${arrow}`);
          way.push(here());
        }
        document.activeElement.click();
        const open = [...state.open].sort();
        press("ArrowDown");
        way.push(here());
        press("Escape");
        return { way, open, closed: [...state.open], formula: document.querySelector("h2.details-name").textContent };
        """,
        samples.sigmoid_layers(60),
        tmp_path,
        monkeypatch,
    )
    assert said["way"][:7] == ["layers", "x", "x", "layers", "layers/0", "layers/1", "layers/0"]
    assert said["open"] == ["layers", "layers/0"]
    assert said["way"][7] == "layers/0/dense"
    assert said["closed"] == ["layers"]
    assert said["formula"] == "layers/0"


def test_a_value_is_found_by_name_whatever_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = acted(
        """
        setAll(false);
        const field = document.getElementById("search");
        field.value = "LAYERS/7/sig";
        field.dispatchEvent(new Event("change"));
        return { name: document.querySelector("h2.details-name").textContent, open: [...state.open].sort() };
        """,
        samples.sigmoid_layers(20),
        tmp_path,
        monkeypatch,
    )
    assert said == {"name": "layers/7/sigmoid", "open": ["layers", "layers/7"]}


def test_the_switch_changes_the_colours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = acted(
        """
        const ground = () => getComputedStyle(document.documentElement).backgroundColor;
        return ["light", "dark", "auto"].map((theme) => {
          document.querySelector(`input[value=${theme}]`).click();
          return ground();
        });
        """,
        samples.worked_example(),
        tmp_path,
        monkeypatch,
    )
    light, dark, auto = said
    assert light == "rgb(243, 245, 248)"
    assert dark == "rgb(14, 18, 23)"
    assert auto in {light, dark}


def test_names_that_look_like_markup_do_nothing(tmp_path: Path) -> None:
    one = np.float32([1.0])
    values = [samples.value(HOSTILE, HOSTILE, [], one, one, HOSTILE)]
    flow = samples.Flow(verdict=samples.Flow.VERDICT_VANISHING, places=[HOSTILE], advice=[HOSTILE])
    page = rendered(samples.trace(1.0, values, flow), tmp_path, HOSTILE)
    assert not [tag for tag, _, _ in page.elements if tag == "img"]
    assert HOSTILE in nodes(page)


def test_two_thousand_values_open_within_the_time_of_one_test(tmp_path: Path) -> None:
    page = rendered(samples.sigmoid_layers(500, width=2, residual=True), tmp_path)
    shown = nodes(page)
    assert {"layers", "x", "loss"} <= set(shown)
    assert shown["layers"].startswith("layers, 500 layers · 2,000 values")

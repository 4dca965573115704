"""A trace as one page of HTML that needs nothing else: no network, no fonts, no scripts from elsewhere."""

from __future__ import annotations

import base64
import hashlib
import html
import json
from importlib.resources import files
from pathlib import Path
from string import Template

from gradserve.trace_view.data import page_data
from gradserve.traces import TraceResult

STYLES = ("colours", "page", "plot", "graph", "panel", "narrow")
SCRIPTS = (
    "elements",
    "numbers",
    "layout",
    "model",
    "arrange",
    "formula",
    "plot",
    "scene",
    "details",
    "view",
    "keys",
    "main",
)


def trace_page(trace: TraceResult, title: str = "") -> str:
    """The page as text.

    Names in a trace may be anyone's. They are data to the page, never markup or script: the data cannot close its
    element, and a content security policy lets the page's own scripts run, by their hashes, and nothing else.

    Args:
        trace: what `Client.trace` answered.
        title: heads the page, such as the name of the network.
    """
    scripts = [_asset(f"{name}.js") for name in SCRIPTS]
    style = "\n".join(_asset(f"{name}.css") for name in STYLES)
    return Template(_asset("page.html")).substitute(
        policy=_policy(scripts, style),
        title=html.escape(title or "Trace"),
        style=style,
        data=_inert(json.dumps(page_data(trace, title or "Trace"), allow_nan=False, separators=(",", ":"))),
        scripts="\n".join(f"<script>{script}</script>" for script in scripts),
    )


def save_trace_page(trace: TraceResult, path: str | Path, title: str = "") -> None:
    """Writes `trace_page` to a file, which any browser opens.

    Raises:
        OSError: it cannot be written.
    """
    Path(path).write_text(trace_page(trace, title), encoding="utf-8")


def _asset(name: str) -> str:
    return (files(__package__) / "page" / name).read_text(encoding="utf-8")


def _policy(scripts: list[str], style: str) -> str:
    def source(text: str) -> str:
        return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

    runs = " ".join(map(source, scripts))
    return f"default-src 'none'; script-src {runs}; style-src {source(style)}; base-uri 'none'; form-action 'none'"


def _inert(text: str) -> str:
    """JSON without the characters that mean something in HTML; it reads back as the same."""
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text

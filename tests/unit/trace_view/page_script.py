"""The page's scripts that touch no page, run by V8."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

from py_mini_racer import MiniRacer

PURE = ("numbers", "layout", "model", "arrange", "formula", "scene")


class PageScript:
    """Functions of the page, called with JSON and answering JSON."""

    def __init__(self) -> None:
        self._engine = MiniRacer()
        folder = files("gradserve.trace_view") / "page"
        for name in PURE:
            self._engine.eval((folder / f"{name}.js").read_text(encoding="utf-8"))

    def call(self, body: str, *arguments: Any) -> Any:
        """What the function with this body, of arguments `a`, `b`, ..., gives."""
        names = ", ".join("abcdef"[: len(arguments)])
        given = ", ".join(json.dumps(one) for one in arguments)
        return json.loads(str(self._engine.eval(f"JSON.stringify((({names}) => {{ {body} }})({given}))")))

    def close(self) -> None:
        self._engine.close()

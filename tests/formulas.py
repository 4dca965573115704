"""Formulas of the chain rule, read as NumPy: their notation is that of `compute.calculus`."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
_lgamma = np.vectorize(math.lgamma, otypes=[float])
_erf = np.vectorize(math.erf, otypes=[float])

NAMES: Mapping[str, Any] = {
    "sqrt": np.sqrt,
    "exp": np.exp,
    "log": np.log,
    "sin": np.sin,
    "cos": np.cos,
    "sign": np.sign,
    "clip": np.clip,
    "pi": np.pi,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "digamma": lambda x: (_lgamma(x + 1e-5) - _lgamma(x - 1e-5)) / 2e-5,
    "Phi": lambda x: (1 + _erf(x / np.sqrt(2))) / 2,
    "phi": lambda x: np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi),
    "softmax": lambda x: np.exp(x) / np.exp(x).sum(-1, keepdims=True),
    "choose": lambda value, condition, other: np.where(condition, value, other),
    "transposed": lambda x: np.swapaxes(x, -1, -2),
    "einsum": np.einsum,
}


def read(text: str, places: Mapping[str, Any], add: Callable[[Array], Any] = np.sum) -> Any:
    """What a formula comes to.

    Args:
        text: the formula.
        places: what stands for the names in braces, and for letters outside of them.
        add: what "sum" means in it.
    """
    text = re.sub(r"\{([^{}]+)\}", lambda match: _identifier(match.group(1)), text)
    text = re.sub(r"(\w+) = (\w+)", r"(\1 == \2)", text)
    text = re.sub(r"(\w+)\^T", r"transposed(\1)", text).replace("^", "**")
    while " where " in text:
        text = _with_choice(text)
    names = {_identifier(name): value for name, value in places.items()} | places
    return eval(text, {"__builtins__": {}}, {**NAMES, "sum": add, **names})


def _identifier(name: str) -> str:
    return f"place_{name.replace('/', '_')}"


def _with_choice(text: str) -> str:
    """The formula with its first "a where c, else b" as a call."""
    middle = text.index(" where ")
    start, depth = middle, 0
    while start and (depth or text[start - 1] != "("):
        start -= 1
        depth += {")": 1, "(": -1}.get(text[start], 0)
    between = text.index(", else ", middle)
    end, depth = between, 0
    while end < len(text) and (depth or text[end] != ")"):
        depth += {"(": 1, ")": -1}.get(text[end], 0)
        end += 1
    value, condition = text[start:middle], text[middle + len(" where ") : between]
    other = text[between + len(", else ") : end]
    return f"{text[:start]}choose({value}, {condition}, {other}){text[end:]}"

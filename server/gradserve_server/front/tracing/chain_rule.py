"""The chain rule at one value, for people: in names, and in numbers where all are scalars."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Sequence

from gradserve_server.common.tracing import Instance
from gradserve_server.front.tracing.values import Use, Values

_PLACE = re.compile(r"\{(y|d|\d+)\}")
# More branches than this are counted rather than shown.
_MOST_TERMS = 4


@dataclasses.dataclass(frozen=True)
class Numbers:
    """Where the number of a scalar comes from.

    Attributes:
        value: of a value.
        gradient: likewise, of the gradient with respect to it.
    """

    value: Callable[[Instance], float]
    gradient: Callable[[Instance], float]


def chain_rule(value: Instance, values: Values, numbers: Numbers) -> str:
    """How the gradient of the loss with respect to `value` comes about."""
    site = value.site
    if site.gradient_row < 0:
        return _no_gradient(value)
    if not site.connected:
        return f"{_gradient(value)} = 0: no path that gradients can take leads from {value.name} to the loss"
    uses = values.passing(value)
    if site.operation == "parameter" and uses and all(_is_part(use, value) for use in uses):
        return f"{_gradient(value)} holds those of its {len(uses)} turns"
    shown = uses if len(uses) <= _MOST_TERMS else uses[: _MOST_TERMS - 1]
    more = f" + ... ({len(uses) - len(shown)} more)" if len(shown) < len(uses) else ""
    text = f"{_gradient(value)} = {_sum([_in_names(use, use.term.text, values) for use in shown])}{more}"
    if _is_scalar(value) and all(_has_numbers(use, values) for use in shown):
        in_numbers = _sum([_in_numbers(use, values, numbers) for use in shown]) + more
        result = _number(numbers.gradient(value))
        text += f" = {result}" if in_numbers == result else f" = {in_numbers} = {result}"
    notes = dict.fromkeys(_in_names(use, use.term.where, values) for use in shown if use.term.where)
    return "; ".join((text, *notes))


def _no_gradient(value: Instance) -> str:
    if value.site.operation == "target":
        return f"{value.name} is a target: the loss is not differentiated with respect to it"
    if value.site.dtype.startswith(("float", "bfloat")):
        return f"{value.name} is a number of the definition: no gradient is taken of it"
    return f"{value.name} is of type {value.site.dtype}: only floating-point numbers have gradients"


def _is_part(use: Use, value: Instance) -> bool:
    return use.by.site.operation == "parameter" and use.by.site.name == value.site.name


def _has_numbers(use: Use, values: Values) -> bool:
    """Whether the term of a use can be written in numbers: all that it names is a scalar."""
    term = use.term
    places = (int(place) for place in _PLACE.findall(term.text) if place.isdigit())
    return term.arithmetic and all(_is_scalar(one) for one in (use.by, *(values.input(use.by, n) for n in places)))


def _in_names(use: Use, text: str, values: Values) -> str:
    def fill(match: re.Match[str]) -> str:
        place = match.group(1)
        if place == "d":
            return _gradient(use.by)
        return _name(use.by if place == "y" else values.input(use.by, int(place)))

    return _PLACE.sub(fill, text)


def _in_numbers(use: Use, values: Values, numbers: Numbers) -> str:
    term = use.term.text

    def fill(match: re.Match[str]) -> str:
        place = match.group(1)
        if place == "d":
            number = numbers.gradient(use.by)
        else:
            number = numbers.value(use.by if place == "y" else values.input(use.by, int(place)))
        text = _number(number)
        return f"({text})" if text.startswith("-") and match.start() else text

    return _PLACE.sub(fill, term)


def _sum(terms: Sequence[str]) -> str:
    text = terms[0] if terms else "0"
    for term in terms[1:]:
        text += f" - {term[1:]}" if term.startswith("-") else f" + {term}"
    return text


def _gradient(value: Instance) -> str:
    return f"dL/d{_name(value)}"


def _name(value: Instance) -> str:
    """The name, in brackets where it could be misread as a formula."""
    return value.name if value.name.replace("_", "").isalnum() else f"[{value.name}]"


def _is_scalar(value: Instance) -> bool:
    return math.prod(value.site.shape) == 1


def _number(number: float) -> str:
    return f"{number:.6g}"

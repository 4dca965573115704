"""Arithmetic of several tensors, and reductions."""

from __future__ import annotations

import math
from collections.abc import Sequence

from gradserve_server.common.tracing import Term
from gradserve_server.compute.calculus.terms import SAME, Rule, over_broadcast, rule, words

Shape = Sequence[int]
_SHARED = "equal ones share it"


def arithmetic(function: str, shapes: Sequence[Shape], result: Shape) -> Rule:
    """The rule of a function of inputs with the roles "0", "1" and so on, which are broadcast to `result`.

    Args:
        function: add, subtract, multiply, divide, power, maximum, minimum or matmul.
        shapes: of the inputs.
        result: shape of the result.
    """
    if function == "matmul":
        return _matmul(shapes)
    roles = [str(place) for place in range(len(shapes))]
    if function == "add":
        terms = dict.fromkeys(roles, SAME)
    elif function == "multiply":
        terms = {
            role: Term(" * ".join(["{d}", *(f"{{{other}}}" for other in roles if other != role)]), arithmetic=True)
            for role in roles
        }
    elif function in {"maximum", "minimum"}:
        terms = {
            role: Term(f"{{d}} where {{{role}}} = {{y}}, else 0", arithmetic=True, where=_SHARED) for role in roles
        }
    else:
        first, second = {
            "subtract": ("{d}", "-{d}"),
            "divide": ("{d} / {1}", "-{d} * {0} / {1}^2"),
            "power": ("{d} * {1} * {0}^({1} - 1)", "{d} * {y} * log({0})"),
        }[function]
        terms = {"0": Term(first, arithmetic=True), "1": Term(second, arithmetic=True)}
    return {
        role: over_broadcast(term, shape, result) for (role, term), shape in zip(terms.items(), shapes, strict=True)
    }


def _matmul(shapes: Sequence[Shape]) -> Rule:
    if all(math.prod(shape) == 1 for shape in shapes):
        return rule(**{"0": "{d} * {1}", "1": "{d} * {0}"})
    counts = [math.prod(shape[:-2]) for shape in shapes]
    terms = words(**{"0": "{d} @ {1}^T", "1": "{0}^T @ {d}"})
    # What is multiplied with many matrices collects from all of them.
    return {
        role: over_broadcast(terms[role], (count,), (max(counts),)) for role, count in zip("01", counts, strict=True)
    }


def einsum(terms: Sequence[str], result: str) -> Rule:
    """A sum of products over named axes; the roles are "0", "1" and so on.

    Args:
        terms: axes of each input, such as ``bik``.
        result: axes of the result.
    """
    rules = {}
    for place, axes in enumerate(terms):
        others = [str(other) for other in range(len(terms)) if other != place]
        equation = ",".join([result, *(terms[int(other)] for other in others)])
        known = set(equation) | {"."}
        operands = ", ".join(["{d}", *(f"{{{other}}}" for other in others)])
        kept = "".join(axis for axis in axes if axis in known)
        where = (
            "" if kept == axes and len(set(axes)) == len(axes) else f"repeated along the axes of {axes} that are summed"
        )
        rules[str(place)] = Term(f"einsum('{equation}->{kept}', {operands})", where=where)
    return rules


def reduction(function: str, shape: Shape, result: Shape) -> Rule:
    """Over axes: sum, mean, max, min or log_sum_exp of x."""
    count = math.prod(shape) // max(math.prod(result), 1)
    each = "for each element that was reduced" if count > 1 else ""
    if function == "mean":
        return rule(each, x=f"{{d}} / {count}" if count > 1 else "{d}")
    if function in {"max", "min"}:
        return rule(_SHARED if count > 1 else "", x="{d} where {x} = {y}, else 0")
    return rule(each, x="{d}" if function == "sum" else "{d} * exp({x} - {y})")


def cumulative(function: str, axis: int, *, reverse: bool) -> Rule:
    """A running sum, product or max of x along an axis."""
    back = "start" if reverse else "end"
    where = f"the running sum goes back from the {back} of axis {axis}"
    if function == "sum":
        return words(where, x="running sum({d})")
    if function == "product":
        return words(where, x="running sum({d} * {y}) / {x}")
    return words(where, x="running sum({d}) at the elements that became the largest, else 0")

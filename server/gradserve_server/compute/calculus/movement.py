"""What moves, picks, compares and repeats elements."""

from __future__ import annotations

import math
from collections.abc import Sequence

from gradserve_server.common.tracing import Term
from gradserve_server.compute.calculus.terms import NOTHING, SAME, Rule, over_broadcast, words

Shape = Sequence[int]


def moved(shape: Shape, result: Shape, how: str) -> Rule:
    """The elements of x in another order, shape, or in part; `how` says how they go back."""
    if math.prod(shape) == math.prod(result) == 1:
        return {"x": SAME}
    return words(x=f"{{d}} {how}")


def concatenate(inputs: int, axis: int) -> Rule:
    """Inputs with the roles "0", "1" and so on, side by side."""
    return {str(place): Term(f"the part of {{d}} along axis {axis} where {{{place}}} lies") for place in range(inputs)}


def select(shapes: Sequence[Shape], result: Shape) -> Rule:
    """Elements of a where the condition holds, else of b; the condition only decides."""
    terms = {
        "a": Term("{d} where {condition}, else 0"),
        "b": Term("{d} where not {condition}, else 0"),
    }
    return {role: over_broadcast(terms[role], shape, result) for role, shape in zip("ab", shapes[1:], strict=True)}


def gather(axis: int, *, aligned: bool) -> Rule:
    """Elements of values that indices name along an axis."""
    place = "place by place" if aligned else "slice by slice"
    return words(f"along axis {axis}, {place}", values="{d} added up at the elements that {indices} names, else 0")


def top_k(*, indices: bool) -> Rule:
    """The largest elements of x, or their indices."""
    return {"x": NOTHING} if indices else words(x="{d} at the elements that are among the largest, else 0")


def no_gradient(*roles: str) -> Rule:
    """An operation through which no gradient passes: comparisons, ranges, constants, fresh random numbers."""
    return dict.fromkeys(roles, NOTHING)

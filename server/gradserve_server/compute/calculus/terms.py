"""How a rule is written, and bound to what an operation takes."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import TypeAlias

from gradserve_server.common.tracing import Term

# For each role, such as "x" or "kernel", what the operation adds to the gradient of what plays it.
Rule: TypeAlias = Mapping[str, Term]

# What flows back is what came.
SAME = Term("{d}", arithmetic=True)
# Nothing flows back: the result does not change with it, or only in steps.
NOTHING = Term("")

_ROLE = re.compile(r"\{([^{}]+)\}")


def rule(where: str = "", **terms: str) -> dict[str, Term]:
    """Terms that can be read with numbers, by role; ``{d}`` is the gradient of the result, ``{y}`` the result."""
    return {role: Term(text, arithmetic=True, where=where) for role, text in terms.items()}


def words(where: str = "", **terms: str) -> dict[str, Term]:
    """Terms that say in words what is done with whole tensors, by role."""
    return {role: Term(text, where=where) for role, text in terms.items()}


def bind(terms: Rule, roles: Sequence[str]) -> tuple[Term, ...]:
    """The terms in the order of what an operation takes, each role in them replaced by its place.

    Args:
        terms: the rule; it has no term for what nothing flows back to.
        roles: of what the operation takes, in order.
    """
    places = {role: str(place) for place, role in reversed(list(enumerate(roles)))}

    def placed(text: str) -> str:
        return _ROLE.sub(lambda match: "{" + places.get(match.group(1), match.group(1)) + "}", text)

    found = (terms.get(role, NOTHING) for role in roles)
    return tuple(Term(placed(term.text), term.arithmetic, placed(term.where)) for term in found)


def over_broadcast(term: Term, shape: Sequence[int], result: Sequence[int]) -> Term:
    """The term of an input of `shape` that was broadcast to `result`: what flows to its copies adds up."""
    if not term.text or math.prod(shape) == math.prod(result):
        return term
    return Term(
        f"sum({term.text})", term.arithmetic, "; ".join(filter(None, (term.where, "the sum runs over its copies")))
    )

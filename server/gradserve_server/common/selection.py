"""Which names a list of patterns chooses."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from gradserve_server.common.errors import Problem, Reason, near


def choose(names: Iterable[str], patterns: Sequence[str], field: str) -> tuple[str, ...]:
    """Those of `names` that `patterns` choose, in their order; all if there are no patterns.

    ``*`` stands for any characters; a leading ``!`` takes away what the patterns before it chose.

    Raises:
        Problem: a pattern fits nothing.
    """
    known = tuple(names)
    if not patterns:
        return known
    chosen: set[str] = set()
    for index, pattern in enumerate(patterns):
        exclude = pattern.startswith("!")
        body = pattern.removeprefix("!")
        expression = re.compile(".*".join(re.escape(part) for part in body.split("*")), re.DOTALL)
        fitting = {name for name in (chosen if exclude else known) if expression.fullmatch(name)}
        if not fitting:
            raise Problem(
                Reason.INVALID_PATTERN,
                "the pattern takes away nothing that was chosen before it" if exclude else "the pattern fits nothing",
                field=f"{field}[{index}]",
                given=repr(pattern),
                hint="Begin with '*' to choose all." if exclude and not chosen else near(body, known),
            )
        chosen = chosen - fitting if exclude else chosen | fitting
    return tuple(name for name in known if name in chosen)

"""The fastest choice of checkpointing whose program fits into memory, by the compiled programs' own figures.

Nothing is run to find out: the compiler plans all of a program's memory before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, TypeVar

from gradserve_server.common.errors import Problem, Reason
from gradserve_server.common.specs import Checkpointing, Footprint


class Sized(Protocol):
    """Something compiled."""

    @property
    def footprint(self) -> Footprint:
        """Bytes that a run of it takes."""


Compiled = TypeVar("Compiled", bound=Sized)


def find_fitting(
    choices: Sequence[Checkpointing],
    asked: Checkpointing,
    compile_choice: Callable[[Checkpointing], Compiled],
    limit: int,
) -> tuple[Checkpointing | None, Compiled]:
    """The choice that is asked for, or the first that fits, and what it compiles to.

    Args:
        choices: from the fastest to the one that takes the least memory; none where nothing is kept.
        asked: a choice, or that it be found.
        compile_choice: makes the program of a choice.
        limit: bytes that a request may take.

    Raises:
        Problem: MEMORY_LIMIT, with what each choice would need.
    """
    if not choices:
        return None, compile_choice(Checkpointing.OFF)
    needed: dict[Checkpointing, int] = {}
    for choice in choices if asked is Checkpointing.AUTOMATIC else (asked,):
        compiled = compile_choice(choice)
        needed[choice] = compiled.footprint.needed
        if needed[choice] <= limit:
            return choice, compiled
        if compiled.footprint.least > limit:
            # No choice changes what comes in and goes out.
            raise _refuse(asked, needed, limit)
    for choice in choices:
        if choice not in needed:
            needed[choice] = compile_choice(choice).footprint.needed
    raise _refuse(asked, needed, limit)


def _refuse(asked: Checkpointing, needed: Mapping[Checkpointing, int], limit: int) -> Problem:
    fitting = [choice for choice, nbytes in needed.items() if nbytes <= limit]
    hint = "Send fewer examples at a time, or divide them with `micro_batches`."
    if fitting:
        hint = f"These would fit: {', '.join(f'{one.value} ({needed[one]} bytes)' for one in fitting)}."
    given = needed if asked is Checkpointing.AUTOMATIC else {asked: needed[asked]}
    return Problem(
        Reason.MEMORY_LIMIT,
        "request, program and answer together need more memory than there is",
        field="options.checkpointing" if fitting else "",
        given=", ".join(f"{nbytes} bytes with '{choice.value}'" for choice, nbytes in given.items()),
        expected=f"at most {limit} bytes",
        hint=hint,
        metadata={
            "needed_bytes": str(min(given.values())),
            "limit_bytes": str(limit),
            **{f"needed_bytes_{choice.value}": str(nbytes) for choice, nbytes in needed.items()},
            "fits_with": ",".join(choice.value for choice in fitting),
        },
    )

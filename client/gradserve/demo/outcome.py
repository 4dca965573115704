"""How a part of the demo came out."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Outcome:
    """What was shown, in a line, and whether it came out as it should."""

    holds: bool
    said: str

"""One row of the table of benchmarks."""

from __future__ import annotations

import dataclasses
from typing import Any


@dataclasses.dataclass(frozen=True)
class Row:
    """A measurement against a reference of the same run.

    Attributes:
        name: of the row.
        value: what was measured, in `unit`.
        unit: such as "ms".
        reference: what it is held against, in `unit`.
        target: largest ratio that holds (least, for a rate); None where the row is only shown.
        rate: whether more is better.
    """

    name: str
    value: float
    unit: str
    reference: float
    target: float | None
    rate: bool = False

    @property
    def ratio(self) -> float:
        """Value by reference."""
        return self.value / self.reference

    @property
    def holds(self) -> bool:
        """Whether the target is met."""
        if self.target is None:
            return True
        return self.ratio >= self.target if self.rate else self.ratio <= self.target

    def as_json(self) -> dict[str, Any]:
        """The object that build/benchmarks.json lists."""
        fields = ("name", "value", "unit", "reference", "ratio", "target", "holds")
        return {name: getattr(self, name) for name in fields}

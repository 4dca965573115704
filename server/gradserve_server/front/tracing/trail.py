"""The longest way of a gradient through a network, step by step."""

from __future__ import annotations

import collections
import dataclasses
import math
from typing import final

from gradserve_server.common.tracing import Instance
from gradserve_server.front.tracing.depth import Depth
from gradserve_server.front.tracing.table import Size, Table
from gradserve_server.front.tracing.values import key_of

# A step that changes sizes by more powers of ten than this stands out.
_SUDDEN = 1.5


@dataclasses.dataclass(frozen=True)
class Step:
    """A gradient on its way back through one operation.

    Attributes:
        operation: what it comes from.
        value: what it comes to, an input of that.
        decades: powers of ten by which it grows; minus infinity where it becomes 0.
    """

    operation: Instance
    value: Instance
    decades: float


@final
class Trail:
    """The steps from the loss back to `first`, along the most layers.

    Attributes:
        steps: in backward order.
    """

    def __init__(self, first: Instance, depth: Depth, table: Table) -> None:
        self._table = table
        steps = []
        value = first
        while True:
            operation = depth.onward[key_of(value)].by
            if operation.site.operation == "loss":
                break
            steps.append(Step(operation, value, table.size(value).decades_above(table.size(operation))))
            value = operation
        self.steps = tuple(reversed(steps))

    def breaks(self, start: Size, decades: float) -> list[Instance]:
        """Operations behind which a gradient has changed by so much, has become 0, or changes at once.

        Args:
            start: size from which on the change counts.
            decades: powers of ten; below 0 for gradients that fade.
        """
        sign = math.copysign(1.0, decades)
        places = []
        for step in self.steps:
            size = self._table.size(step.value)
            before = self._table.size(step.operation)
            crosses = (
                sign * size.decades_above(start) >= abs(decades) > sign * before.decades_above(start)
                if start.norm
                else False
            )
            if crosses or sign * step.decades >= _SUDDEN:
                places.append(step.operation)
        return places

    def shares(self, sign: float) -> dict[str, float]:
        """Powers of ten that the operations of each kind add in the direction of `sign`, the largest first."""
        sums: dict[str, float] = collections.defaultdict(float)
        for step in self.steps:
            if math.isfinite(step.decades):
                sums[step.operation.site.operation] += sign * step.decades
        return dict(sorted(((kind, one) for kind, one in sums.items() if one > 0), key=lambda one: -one[1]))

    def end(self) -> Step | None:
        """The step at which the gradient becomes 0."""
        return next((step for step in self.steps if step.decades == -math.inf), None)

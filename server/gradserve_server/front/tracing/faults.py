"""What breaks a backward pass: numbers that are not finite, and parameters without a path to the loss."""

from __future__ import annotations

import math

from gradserve_server.common.tracing import TURN, Instance
from gradserve_server.front.tracing.depth import Depth
from gradserve_server.front.tracing.table import Table
from gradserve_server.front.tracing.values import Values, key_of


def not_finite(values: Values, depth: Depth, table: Table, loss: float) -> list[Instance]:
    """Where numbers stop to be finite, in backward order; nothing where loss and gradients are.

    Values that are not finite are no fault by themselves: minus infinity masks scores.
    """
    bad = [one for one in values.all if one.site.gradient_row >= 0 and table.of_gradient(one, "non_finite")]
    if math.isfinite(loss) and not bad:
        return []
    forward = [one for one in reversed(values.all) if _starts_forward(one, values, table)]
    if forward:
        return forward
    keys = {key_of(one) for one in bad}
    backward = [one for one in reversed(bad) if not any(key_of(use.by) in keys for use in values.passing(one))]
    return backward or list(reversed(bad)) or depth.predictions


def _starts_forward(one: Instance, values: Values, table: Table) -> bool:
    """Whether a value is not finite while all that it is computed from is."""
    if one.site.row < 0 or not table.of_value(one, "non_finite") or one.site.key.endswith(TURN):
        return False
    return not any(source.site.row >= 0 and table.of_value(source, "non_finite") for source in values.inputs(one))


def cut_off(values: Values) -> list[tuple[Instance, list[Instance]]]:
    """Parameters without a path to the loss, in backward order, each with where its paths end.

    A path ends at an operation that no gradient passes, or at a value that nothing is computed from.
    """
    return [
        (one, _ends(one, values))
        for one in reversed(values.all)
        if one.site.operation == "parameter" and not one.site.connected and not one.site.key.endswith(TURN)
    ]


def _ends(parameter: Instance, values: Values) -> list[Instance]:
    ends: dict[str, Instance] = {}
    seen = {key_of(parameter)}
    waiting = [parameter]
    while waiting:
        value = waiting.pop()
        uses = values.uses(value)
        if not uses and value is not parameter:
            ends[value.name] = value
        for use in uses:
            if not use.term.text:
                ends[use.by.name] = use.by
            elif key_of(use.by) not in seen:
                seen.add(key_of(use.by))
                waiting.append(use.by)
    return list(ends.values())

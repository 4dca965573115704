"""What the gradients of a trace say about how they flow: a verdict, where it comes from, and what to try."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from gradserve.v1 import gradient_service_pb2 as service
from gradserve_server.common.tracing import Instance
from gradserve_server.front.tracing import advice
from gradserve_server.front.tracing.depth import Depth
from gradserve_server.front.tracing.faults import cut_off, not_finite
from gradserve_server.front.tracing.table import Size, Table
from gradserve_server.front.tracing.trail import Trail
from gradserve_server.front.tracing.values import Values

Verdict = Literal["healthy", "vanishing", "exploding", "non_finite", "disconnected"]

VERDICTS: Mapping[Verdict, service.GradientFlow.Verdict] = {
    "healthy": service.GradientFlow.VERDICT_HEALTHY,
    "vanishing": service.GradientFlow.VERDICT_VANISHING,
    "exploding": service.GradientFlow.VERDICT_EXPLODING,
    "non_finite": service.GradientFlow.VERDICT_NON_FINITE,
    "disconnected": service.GradientFlow.VERDICT_DISCONNECTED,
}

# A thousandth or a thousandfold: with one learning rate for all, one end stands still or the other is torn apart.
DECADES = 3.0
# By how little a loss may change, relative to itself, with what the last layer gives, by powers of ten.
_SATURATED_DECADES = -4.0
_MOST_PLACES = 10


@dataclasses.dataclass(frozen=True)
class Flow:
    """See `GradientFlow` of the contract."""

    verdict: Verdict
    factor_per_layer: float = 1.0
    places: tuple[str, ...] = ()
    advice: tuple[str, ...] = ()


def judge(values: Values, depth: Depth, table: Table, loss: float) -> Flow:
    """The verdict on a trace.

    Gradients that are not finite come first, then parameters without a path to the loss; then how sizes of gradients
    change from the last layer to the first, along the steps of what reads a sequence, and at the loss.

    Args:
        values: what was traced.
        depth: its layers.
        table: its numbers.
        loss: the loss.
    """
    bad = not_finite(values, depth, table, loss)
    if bad:
        return Flow("non_finite", math.nan, _names(bad), advice.not_finite(bad, values, table))
    sizes = [max((table.size(one) for one in level), key=_by_element) for level in depth.levels]
    factor = _factor(sizes)
    cut = cut_off(values)
    if cut:
        return Flow("disconnected", factor, _names(one for one, _ in cut), advice.cut_off(cut))
    at_loss = [one for one in depth.predictions if one.site.gradient_row >= 0]
    if at_loss and not any(table.size(one).norm for one in at_loss):
        return Flow("healthy", advice=advice.AT_REST)
    if not depth.levels:
        return Flow("healthy")
    changes = [_over_depth(depth, table, sizes), *_in_time(values, table), _at_the_loss(depth, table, loss)]
    worst = max((one for one in changes if one is not None), key=lambda one: abs(one.decades), default=None)
    if worst is None:
        return Flow("healthy", factor, (), advice.dead_branches(values, table))
    verdict: Verdict = "vanishing" if worst.decades < 0 else "exploding"
    return Flow(verdict, factor, _names(worst.places), worst.advice)


@dataclasses.dataclass(frozen=True)
class _Change:
    """That sizes of gradients change too much: by how many powers of ten, where, and what to try."""

    decades: float
    places: Sequence[Instance]
    advice: tuple[str, ...]


def _over_depth(depth: Depth, table: Table, sizes: Sequence[Size]) -> _Change | None:
    """From the last layer to the first."""
    decades = sizes[-1].decades_above(sizes[0]) if sizes[0].norm else -math.inf
    if abs(decades) < DECADES:
        return None
    first = max(depth.levels[-1], key=lambda one: _by_element(table.size(one)))
    trail = Trail(first, depth, table)
    places = trail.breaks(sizes[0], DECADES if decades > 0 else -DECADES)
    return _Change(decades, places, advice.over_depth(trail, depth, table, vanishes=decades < 0))


def _in_time(values: Values, table: Table) -> list[_Change]:
    """From the last step of each sequence that is read in order to the first."""
    found = []
    for one in values.all:
        if one.site.time_row < 0 or not one.site.connected or len(values.passing(one)) != 1:
            continue
        reader = values.passing(one)[0].by
        sizes = table.sizes_in_time(one)
        # Nothing comes back from steps after the end of the sequences, or before their start.
        steps = [step for step, size in enumerate(sizes) if size.norm]
        if not steps:
            continue
        start, end = (steps[0] if _is_masked(reader) else 0), steps[-1]
        decades = sizes[start].decades_above(sizes[end])
        if abs(decades) >= DECADES:
            gone = [step for step in range(start, end) if abs(sizes[step].decades_above(sizes[end])) >= DECADES]
            text = advice.in_time(reader, max(gone), len(sizes), vanishes=decades < 0)
            found.append(_Change(decades, [reader], text))
    return found


def _is_masked(reader: Instance) -> bool:
    return len(reader.site.inputs) > 1 and not reader.site.terms[1].text


def _at_the_loss(depth: Depth, table: Table, loss: float) -> _Change | None:
    """Whether the loss hardly changes with what the last layer gives, as behind a function that is flat there.

    By the Cauchy-Schwarz inequality the loss changes by at most |z| |dL/dz| when z changes by as much as it is; what
    saturates does so within a few units of z, so that no z counts for less than one.
    """
    if not loss:
        return None
    most = max(
        max(float(table.of_value(one, "norm")), math.sqrt(math.prod(one.site.shape))) * table.size(one).norm
        for one in depth.levels[0]
    )
    decades = math.log10(most / abs(loss)) if most else -math.inf
    if decades > _SATURATED_DECADES:
        return None
    last = max(depth.levels[0], key=lambda one: _by_element(table.size(one)))
    trail = Trail(last, depth, table)
    places = [step.operation for step in trail.steps[:1]]
    return _Change(decades, places, advice.over_depth(trail, depth, table, vanishes=True)) if places else None


def _factor(sizes: Sequence[Size]) -> float:
    """The geometric mean of the change from layer to layer, back to where the gradient is exactly 0."""
    known = [size.root_mean_square for size in sizes]
    steps = next((place for place, size in enumerate(known) if not size), len(known)) - 1
    if steps < 0:
        return 0.0 if known else 1.0
    if not steps:
        return 1.0 if len(known) == 1 else 0.0
    return math.exp((math.log(known[steps]) - math.log(known[0])) / steps)


def _by_element(size: Size) -> float:
    return size.root_mean_square


def _names(values: Iterable[Instance]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(one.name for one in values))[:_MOST_PLACES]

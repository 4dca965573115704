"""From what a tape has seen to the layout of a trace: which values there are, in which order, and where numbers lie."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping

from msgspec import structs

from gradserve_server.common.errors import Problem, Reason
from gradserve_server.common.selection import choose
from gradserve_server.common.tracing import TURN, Layout, Repeat, Site, Term, instances
from gradserve_server.compute.program.computation import Computation
from gradserve_server.compute.tape import LOSS, PARAMETER, TARGET, Record, Step

INPUT = "input"
# What a trace is for is to be looked at.
_MOST_VALUES = 20_000


@dataclasses.dataclass(frozen=True)
class Place:
    """Where the numbers of a site come from.

    Attributes:
        site: the site.
        source: name of its arrays.
        parts: number of their first axes that count turns which are told of together.
    """

    site: Site
    source: str
    parts: int


def lay_out(computation: Computation, record: Record, connected: Mapping[str, bool]) -> tuple[Layout, list[Place]]:
    """The layout, and for each of its sites in order where its numbers come from.

    Raises:
        Problem: a name that is asked for fits no value, or there are too many values.
    """
    request = computation.spec.trace
    repeats = tuple(Repeat(one.key, one.turns, one.start, one.result, one.stacks) for one in record.repeats.values())
    counts = {one.key: one.turns for one in repeats}
    drafts = _read_in_time(record, [*_given(computation, record, connected), *_shown(computation, record, connected)])
    many = [math.prod(counts[key] for key in draft.site.within) for draft in drafts]
    if sum(many) > _MOST_VALUES:
        raise Problem(
            Reason.TOO_LARGE,
            "there are too many values to trace",
            field="network",
            given=str(sum(many)),
            expected=f"at most {_MOST_VALUES}",
            hint="A repeated block counts as often as it runs.",
        )
    everything = list(instances(Layout(tuple(draft.site for draft in drafts), repeats, None)))
    names = None
    chosen = {one.site.key for one in everything}
    if request.names:
        known = dict.fromkeys(one.name for one in everything if one.site.operation != LOSS)
        names = frozenset(choose(known, request.names, "names"))
        chosen = {one.site.key for one in everything if one.name in names}
    row = 0
    places = []
    for draft, rows in zip(drafts, many, strict=True):
        site = draft.site
        has_gradient = site.gradient_row >= 0
        whole = site.key in chosen and math.prod(site.shape) <= request.whole_tensors_up_to
        if site.operation == LOSS:
            places.append(dataclasses.replace(draft, site=_placed(site, -1, -1, whole=False)))
            continue
        placed = _placed(site, row, row + rows if has_gradient else -1, whole=whole)
        places.append(dataclasses.replace(draft, site=placed))
        row += rows * (2 if has_gradient else 1)
        if site.time_axis >= 0:
            placed = places[-1].site
            places[-1] = dataclasses.replace(places[-1], site=structs.replace(placed, time_row=row))
            row += rows * site.shape[site.time_axis]
    return Layout(tuple(place.site for place in places), repeats, names), places


def _placed(site: Site, row: int, gradient_row: int, *, whole: bool) -> Site:
    return structs.replace(site, row=row, gradient_row=gradient_row, whole=whole)


def _read_in_time(record: Record, places: list[Place]) -> list[Place]:
    """Marks what is read step by step, where its gradient is taken."""
    axes = {(step.inputs[0], step.within): step.time_axis for step in record.steps.values() if step.time_axis >= 0}
    marked = []
    for place in places:
        site = place.site
        axis = axes.get((site.key, site.within), -1)
        is_read = axis >= 0 and site.gradient_row >= 0 and not place.parts
        marked.append(dataclasses.replace(place, site=structs.replace(site, time_axis=axis)) if is_read else place)
    return marked


def _given(computation: Computation, record: Record, connected: Mapping[str, bool]) -> Iterator[Place]:
    """Inputs, then what the loss takes of the batch beside them."""
    forms = {one.name: one for one in computation.spec.batch}
    inputs = [one.name for one in computation.network.inputs]
    for name in inputs:
        form = forms[name]
        is_connected = connected.get(name, False)
        has_gradient = name in connected
        yield Place(
            _site(name, INPUT, form.dtype, form.shape, has_gradient=has_gradient, connected=is_connected), name, 0
        )
    for name, form in forms.items():
        if name not in inputs:
            key = record.of_batch(name)
            yield Place(_site(key, TARGET, form.dtype, form.shape, has_gradient=False, connected=False), key, 0)


def _shown(computation: Computation, record: Record, connected: Mapping[str, bool]) -> list[Place]:
    """Parameters where they are first used, and all that was computed."""
    places: list[Place] = []
    for step in record.steps.values():
        if step.operation == PARAMETER:
            _add_parameter(computation, record, connected, step, places)
            continue
        site = _site(
            step.key,
            step.operation,
            str(step.form.dtype),
            step.form.shape,
            inputs=tuple(_input(computation, record, step, key) for key in step.inputs),
            terms=step.terms,
            within=step.within,
            has_gradient=step.has_gradient,
            connected=step.operation == LOSS or connected.get(step.key, False),
        )
        places.append(Place(site, step.key, 0))
    seen = {place.source for place in places}
    for name in computation.signature.parameters:
        if name not in seen:
            step = Step(name, PARAMETER, (), (), (), None)  # type: ignore[arg-type]
            _add_parameter(computation, record, connected, step, places)
    return places


def _add_parameter(
    computation: Computation, record: Record, connected: Mapping[str, bool], step: Step, places: list[Place]
) -> None:
    """Adds a parameter as a whole, before the repeated block that uses it, and turn by turn where it has turns."""
    spec = computation.signature.parameters[step.key]
    sent = {one.name: one.dtype for one in computation.weights}
    is_connected = connected[step.key]
    stacking = _stacking(record, step)
    stacked = spec.stacked if len(stacking) == spec.stacked else 0
    whole = _site(spec.name, PARAMETER, sent[spec.name], spec.shape, connected=is_connected)
    _insert(places, Place(whole, spec.name, stacked), step)
    if stacked:
        part = _site(
            spec.name + TURN,
            PARAMETER,
            sent[spec.name],
            spec.shape[stacked:],
            inputs=(spec.name,),
            within=stacking,
            connected=is_connected,
        )
        _insert(places, Place(part, spec.name, 0), step)


def _stacking(record: Record, step: Step) -> tuple[str, ...]:
    """The repeated blocks around a step of which each turn has parameters of its own."""
    return tuple(key for key in step.within if record.repeats[key].stacks)


def _insert(places: list[Place], place: Place, step: Step) -> None:
    """Puts `place` before the repeated block around `step` that it does not belong to, or else at the end."""
    depth = len(place.site.within)
    around = step.within[depth : depth + 1]
    index = len(places)
    while around and index and places[index - 1].site.within[depth : depth + 1] == around:
        index -= 1
    places.insert(index, place)


def _input(computation: Computation, record: Record, step: Step, key: str) -> str:
    """The key of an input; of a parameter that has turns, that of one turn where the step is in them."""
    spec = computation.signature.parameters.get(key)
    if spec is not None and spec.stacked and len(_stacking(record, step)) == spec.stacked:
        return key + TURN
    return key


def _site(
    key: str,
    operation: str,
    dtype: str,
    shape: tuple[int, ...],
    *,
    inputs: tuple[str, ...] = (),
    terms: tuple[Term, ...] = (),
    within: tuple[str, ...] = (),
    has_gradient: bool = True,
    connected: bool,
) -> Site:
    name = key.removesuffix(TURN).replace("@", "/")
    row = 0 if has_gradient else -1
    return Site(key, name, operation, inputs, terms, within, dtype, shape, 0, row, connected, False)

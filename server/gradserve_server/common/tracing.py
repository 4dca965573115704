"""What a traced program shows, as it crosses the seam: names, forms and formulas, with the places of the numbers."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import msgspec

# Columns of the matrix of statistics.
STATISTICS = (
    "mean",
    "standard_deviation",
    "minimum",
    "maximum",
    "norm",
    "root_mean_square",
    "zero_fraction",
    "non_finite",
)


class Request(msgspec.Struct, frozen=True, array_like=True):
    """What is asked of a trace beside its network, weights, batch and loss.

    Attributes:
        whole_tensors_up_to: values and gradients of at most this many elements come whole.
        names: only these values, by name or pattern; all if empty.
    """

    whole_tensors_up_to: int = 0
    names: tuple[str, ...] = ()


class Term(msgspec.Struct, frozen=True, array_like=True):
    """What one use of a value adds to the gradient with respect to it.

    Attributes:
        text: for people, with places: ``{y}`` is what was computed, ``{d}`` the gradient with respect to that, ``{0}``,
            ``{1}`` and so on what it was computed from. Empty where nothing flows back.
        arithmetic: whether it can be read with numbers in the places, where all of them are scalars.
        where: what its letters stand for, with places as well; empty where there is nothing to say.
    """

    text: str
    arithmetic: bool = False
    where: str = ""


class Site(msgspec.Struct, frozen=True, array_like=True):
    """A value of a network; inside of repeated blocks it stands for as many values as there are turns.

    Attributes:
        key: names it to other sites: the name of its array, and a parameter's with `TURN` for one turn of it.
        name: as its values are named, but for the turns.
        operation: what computed it.
        inputs: keys of what it was computed from. A key that ends in ``@`` is that of a repeated block: what its turn
            was fed.
        terms: for each input, what this use adds to its gradient; none where nothing is known of the operation.
        within: keys of the repeated blocks around it, the outermost first.
        dtype: element type.
        shape: of one turn.
        row: in the matrix of statistics, that of the first turn's value.
        gradient_row: likewise, of its gradient; -1 where there is none.
        connected: whether the loss depends on it in a way that gradients can take.
        whole: whether value and gradient come whole as well, all turns stacked.
        time_axis: axis of one turn along which the first use of it reads step by step; -1 where none does.
        time_row: in the matrix of statistics, that of the gradient at the first step of the first turn; -1 likewise.
    """

    key: str
    name: str
    operation: str
    inputs: tuple[str, ...]
    terms: tuple[Term, ...]
    within: tuple[str, ...]
    dtype: str
    shape: tuple[int, ...]
    row: int
    gradient_row: int
    connected: bool
    whole: bool
    time_axis: int = -1
    time_row: int = -1


class Repeat(msgspec.Struct, frozen=True, array_like=True):
    """A repeated block.

    Attributes:
        key: its name.
        turns: how often it runs.
        start: key of what the first turn is fed.
        result: key of the value inside that the next turn is fed.
        stacks: whether each turn has parameters of its own.
    """

    key: str
    turns: int
    start: str
    result: str
    stacks: bool


class Layout(msgspec.Struct, frozen=True, array_like=True):
    """All that a trace shows beside numbers.

    Attributes:
        sites: in forward order.
        repeats: the repeated blocks.
        names: the values to answer with; None for all.
    """

    sites: tuple[Site, ...]
    repeats: tuple[Repeat, ...]
    names: frozenset[str] | None


# After the key of a parameter of repeated blocks: one turn of it.
TURN = "[]"


@dataclasses.dataclass(frozen=True)
class Instance:
    """One value: a site in one turn of the blocks around it.

    Attributes:
        site: the site.
        turns: of the repeated blocks around it, counted from 0.
        name: as answers write it, ``block/3/node``.
    """

    site: Site
    turns: tuple[int, ...]
    name: str


def instances(layout: Layout) -> Iterator[Instance]:
    """All values in forward order: a repeated block turn after turn."""
    counts = {one.key: one.turns for one in layout.repeats}
    yield from _turn(layout.sites, (), counts)


def _turn(sites: Sequence[Site], turns: tuple[int, ...], counts: dict[str, int]) -> Iterator[Instance]:
    depth = len(turns)
    place = 0
    while place < len(sites):
        site = sites[place]
        if len(site.within) == depth:
            yield Instance(site, turns, instance_name(site, turns))
            place += 1
            continue
        repeat, end = site.within[depth], place
        while end < len(sites) and sites[end].within[depth : depth + 1] == (repeat,):
            end += 1
        for turn in range(counts[repeat]):
            yield from _turn(sites[place:end], (*turns, turn), counts)
        place = end


def instance_name(site: Site, turns: tuple[int, ...]) -> str:
    """The site's name with the number of each turn after the block's."""
    name, done = "", 0
    for repeat, turn in zip(site.within, turns, strict=True):
        name += f"{site.name[done : len(repeat)]}/{turn}"
        done = len(repeat)
    return name + site.name[done:]

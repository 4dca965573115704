"""The values of a trace: names, what each was computed from, and what was computed from each."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterator, Mapping
from typing import final

from gradserve_server.common.tracing import TURN, Instance, Layout, Repeat, Site, Term, instances

Key = tuple[str, tuple[int, ...]]
# Of an operation that says nothing about itself.
_UNKNOWN = Term("{d} times the derivative of {y}")


def key_of(value: Instance) -> Key:
    """Names a value."""
    return value.site.key, value.turns


@dataclasses.dataclass(frozen=True)
class Use:
    """That a value is an input of another: of which, and the which-th."""

    by: Instance
    index: int

    @property
    def term(self) -> Term:
        """What this use adds to the gradient."""
        terms = self.by.site.terms
        return terms[self.index] if self.index < len(terms) else _UNKNOWN


@final
class Values:
    """All values of a layout; found once for each program.

    Attributes:
        all: in forward order.
        by_key: by site and turns.
    """

    def __init__(self, layout: Layout) -> None:
        self.all = tuple(instances(layout))
        self.by_key: Mapping[Key, Instance] = {key_of(one): one for one in self.all}
        self._sites: Mapping[str, Site] = {site.key: site for site in layout.sites}
        self._repeats: Mapping[str, Repeat] = {repeat.key: repeat for repeat in layout.repeats}
        self._inputs = {
            key_of(one): tuple(
                tuple(self._resolve(key, one.site.within, one.turns, every=_takes_every_turn(one.site)))
                for key in one.site.inputs
            )
            for one in self.all
        }
        self._uses: dict[Key, list[Use]] = collections.defaultdict(list)
        for one in self.all:
            for index, keys in enumerate(self._inputs[key_of(one)]):
                for key in keys:
                    self._uses[key].append(Use(one, index))

    def inputs(self, value: Instance) -> list[Instance]:
        """What a value was computed from, in order."""
        return [self.by_key[key] for keys in self._inputs[key_of(value)] for key in keys]

    def input(self, value: Instance, index: int) -> Instance:
        """One of its inputs; of many turns that are one input, the first."""
        return self.by_key[self._inputs[key_of(value)][index][0]]

    def uses(self, value: Instance) -> list[Use]:
        """What was computed from a value, in forward order."""
        return self._uses.get(key_of(value), [])

    def passing(self, value: Instance) -> list[Use]:
        """Those of its uses on which a gradient comes back."""
        return [use for use in self.uses(value) if use.by.site.connected and use.term.text]

    def _resolve(self, key: str, within: tuple[str, ...], turns: tuple[int, ...], *, every: bool) -> Iterator[Key]:
        """The values that `key` means in these turns of the blocks `within`.

        From outside, a value in a repeated block is that of its last turn; with `every`, of each.
        """
        if key.endswith("@"):
            repeat = self._repeats[key[:-1]]
            place = within.index(repeat.key)
            key, turn = (repeat.result, turns[place] - 1) if turns[place] else (repeat.start, None)
            turns = turns[:place] if turn is None else (*turns[:place], turn)
            yield from self._resolve(key, within[: len(turns)], turns, every=every)
            return
        site = self._sites[key]
        if key.endswith(TURN):
            turns = tuple(turn for one, turn in zip(within, turns, strict=True) if self._repeats[one].stacks)
        turns = turns[: len(site.within)]
        inner = [self._repeats[one].turns for one in site.within[len(turns) :]]
        last = tuple(count - 1 for count in inner)
        for first in range(inner[0]) if every and inner else last[:1]:
            yield site.key, (*turns, first, *last[1:])
        if not inner:
            yield site.key, turns


def _takes_every_turn(site: Site) -> bool:
    """Whether it stacks a value of a repeated block."""
    return site.operation == "block" and "@" in site.key

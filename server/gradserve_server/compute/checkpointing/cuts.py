"""Where to cut a chain of equations: what is alive at a cut is kept, what is between two is computed again.

The peak of a backward pass is about the bytes kept at the cuts and the bytes made inside the largest segment, which are
there again while its gradients are computed. `fewest_bytes` finds the cuts with the least sum of both: for a chain of n
equal layers they are about sqrt(n) apart (Chen et al., "Training Deep Nets with Sublinear Memory Cost", 2016).
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np

# With more places than this a search takes too long; neighbours are then taken together.
_MOST_PLACES = 256
# Largest segments that are tried, from the largest equation to all of them.
_TRIES = 24
# Of two places with as many bytes the one right after a product is better: that product is not computed again.
_AFTER_PRODUCT = 1e-3


@dataclasses.dataclass(frozen=True)
class Made:
    """A value that an equation makes.

    Attributes:
        by: number of the equation.
        last_use: number of the last equation that takes it; that of the equations, for results of the chain.
        nbytes: its size.
    """

    by: int
    last_use: int
    nbytes: int


@dataclasses.dataclass(frozen=True)
class Chain:
    """What matters of a chain of equations.

    Attributes:
        work: for each equation, the bytes that it makes anew (nothing where it only moves them).
        made: values that equations make.
        products: numbers of the equations that multiply matrices or convolve.
        loops: numbers of the equations that must stay by themselves.
    """

    work: Sequence[int]
    made: Sequence[Made]
    products: frozenset[int]
    loops: frozenset[int]


def fewest_bytes(chain: Chain) -> list[int]:
    """Cuts, from 0 to the number of equations, with the fewest bytes kept and computed again."""
    count = len(chain.work)
    if count < 2:
        return list(range(count + 1))
    places = _places(chain)
    new = _new_bytes(chain, places) * (1 + _AFTER_PRODUCT * _since_product(chain)[places])[None, :]
    before = np.concatenate([[0.0], np.cumsum([0 if n in chain.loops else one for n, one in enumerate(chain.work)])])
    loops_before = np.concatenate([[0], np.cumsum([n in chain.loops for n in range(count)])])
    inside = before[places][None, :] - before[places][:, None]
    loops_inside = loops_before[places][None, :] - loops_before[places][:, None]
    apart = np.asarray(places)[None, :] - np.asarray(places)[:, None]
    allowed = (apart > 0) & ((loops_inside == 0) | (apart == 1))
    smallest = max(float(np.max(np.diagonal(inside, 1))), 1.0)
    best_total, best = np.inf, [0, count]
    for most in np.geomspace(smallest, max(smallest, float(before[-1])), _TRIES):
        kept, cuts = _shortest(np.where(allowed & (inside <= most * (1 + 1e-9)), new, np.inf))
        largest = max(inside[start, end] for start, end in itertools.pairwise(cuts))
        if kept + largest < best_total:
            best_total, best = kept + largest, [places[cut] for cut in cuts]
    return best


def narrow(chain: Chain) -> list[int]:
    """Cuts wherever one value alone carries on, at most one between two products; and those of `fewest_bytes`."""
    count = len(chain.work)
    alive, largest = _alive(chain)
    distance = _since_product(chain)
    cuts = set(fewest_bytes(chain))
    marks = sorted({0, *(one + 1 for one in chain.products), count})
    for start, end in itertools.pairwise(marks):
        single = [place for place in range(max(start, 1), end) if 0 < alive[place] <= largest[place] / 0.9]
        if single:
            cuts.add(min(single, key=lambda place: (alive[place], distance[place])))
    return sorted(cuts)


def _places(chain: Chain) -> list[int]:
    """Places where a cut may be: all, or if there are too many, the narrowest of each group of neighbours."""
    count = len(chain.work)
    forced = {0, count, *chain.loops, *(one + 1 for one in chain.loops)}
    if count < _MOST_PLACES:
        return list(range(count + 1))
    alive, _ = _alive(chain)
    cost = alive * (1 + _AFTER_PRODUCT * _since_product(chain))
    groups = np.array_split(np.arange(1, count), _MOST_PLACES)
    return sorted(forced | {int(group[np.argmin(cost[group])]) for group in groups if len(group)})


def _alive(chain: Chain) -> tuple[np.ndarray, np.ndarray]:
    """For each place, the bytes made before and used after it; and those of the largest such value."""
    count = len(chain.work)
    total, largest = np.zeros(count + 2), np.zeros(count + 1)
    for one in chain.made:
        total[one.by + 1] += one.nbytes
        total[one.last_use + 1] -= one.nbytes
        span = largest[one.by + 1 : one.last_use + 1]
        np.maximum(span, one.nbytes, out=span)
    return np.cumsum(total)[: count + 1], largest


def _since_product(chain: Chain) -> np.ndarray:
    """For each place, how many equations the last product is back, at most 100."""
    distance = np.full(len(chain.work) + 1, 100)
    for place in range(1, len(distance)):
        distance[place] = 0 if place - 1 in chain.products else min(distance[place - 1] + 1, 100)
    return distance


def _new_bytes(chain: Chain, places: list[int]) -> np.ndarray:
    """[start, end]: bytes alive at the place `end` and made since the place `start`, by numbers of places."""
    steps = np.zeros((len(places) + 1, len(places) + 1))
    for one in chain.made:
        # Starts up to this one lie before it, ends between these two lie after it and before its last use.
        start = int(np.searchsorted(places, one.by, side="right"))
        end = int(np.searchsorted(places, one.last_use, side="right"))
        if one.last_use >= len(chain.work):
            end = len(places) - 1  # a result of the chain is there in the end, whatever is cut
        if start < end:
            steps[0, start] += one.nbytes
            steps[0, end] -= one.nbytes
            steps[start, start] -= one.nbytes
            steps[start, end] += one.nbytes
    return np.cumsum(np.cumsum(steps, axis=0), axis=1)[:-1, :-1]


def _shortest(cost: np.ndarray) -> tuple[float, list[int]]:
    """The path from the first to the last place with the least sum of `cost` [start, end]."""
    count = len(cost)
    best, origin = np.full(count, np.inf), np.zeros(count, int)
    best[0] = 0
    for end in range(1, count):
        sums = best[:end] + cost[:end, end]
        origin[end] = int(np.argmin(sums))
        best[end] = sums[origin[end]]
    path = [count - 1]
    while path[-1]:
        path.append(int(origin[path[-1]]))
    return float(best[-1]), path[::-1]

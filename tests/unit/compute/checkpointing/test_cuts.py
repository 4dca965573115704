"""Where chains are cut: few bytes kept, small segments, loops by themselves."""

from __future__ import annotations

import itertools

import pytest

from gradserve_server.compute.checkpointing.cuts import Chain, Made, fewest_bytes, narrow
from gradserve_server.compute.checkpointing.loops import Grouping, group


def layers(count: int, nbytes: int = 100, each: int = 3) -> Chain:
    """Layers of `each` equations, the first of them a product; each makes `nbytes` of the one before."""
    total = count * each
    return Chain(
        work=[nbytes] * total,
        made=[Made(n, n + 1, nbytes) for n in range(total)],
        products=frozenset(range(0, total, each)),
        loops=frozenset(),
    )


def peak(chain: Chain, cuts: list[int]) -> int:
    """Bytes alive at any cut, once each, and bytes of the largest segment, which are computed again."""
    kept = {one for one in chain.made for cut in cuts[1:-1] if one.by < cut <= one.last_use}
    segments = (sum(chain.work[start:end]) for start, end in itertools.pairwise(cuts))
    return sum(one.nbytes for one in kept) + max(segments)


@pytest.mark.parametrize("count", [4, 25, 100])
def test_equal_layers_are_cut_about_the_root_of_their_number_apart(count: int) -> None:
    chain = layers(count)
    cuts = fewest_bytes(chain)
    # k segments cost 100 (k - 1) and 300 count / k: least at k = sqrt(3 count).
    best = min(100 * (k - 1) + 300 * -(-count // k) for k in range(1, count + 1))
    assert peak(chain, cuts) <= best
    assert peak(chain, cuts) < sum(chain.work) or count == 1


def test_of_equal_places_the_one_after_a_product_is_taken_as_that_is_not_computed_again() -> None:
    chain = layers(25)
    assert all(cut - 1 in chain.products for cut in fewest_bytes(chain)[1:-1])


def test_a_long_chain_is_cut_as_well_by_groups_of_neighbours() -> None:
    chain = layers(1000)
    cuts = fewest_bytes(chain)
    assert peak(chain, cuts) <= 1.3 * 2 * (3 * 1000) ** 0.5 * 100
    assert cuts[0] == 0
    assert cuts[-1] == 3000
    assert cuts == sorted(set(cuts))


def test_a_loop_is_a_segment_of_its_own() -> None:
    chain = layers(12)
    chain = Chain(chain.work, chain.made, chain.products, frozenset({10, 20}))
    for cuts in (fewest_bytes(chain), narrow(chain)):
        assert {10, 11, 20, 21} <= set(cuts)


def test_what_is_kept_already_costs_nothing_at_the_next_cut() -> None:
    # Every second value is used again at the mirrored place, as in a U-Net.
    count = 40
    made = [Made(n, 2 * count - n, 100) for n in range(count)] + [Made(n, n + 1, 100) for n in range(count, 2 * count)]
    chain = Chain([100] * 2 * count, made, frozenset(range(2 * count)), frozenset())
    cuts = fewest_bytes(chain)
    assert len(cuts) > 8
    assert peak(chain, cuts) <= 100 * (count + 25)


def test_narrow_places_are_where_one_value_carries_on() -> None:
    # Two products run side by side in each block, then are added: 0 and 1 take the input, 2 adds.
    made = []
    for block in range(6):
        base = 3 * block
        made += [Made(base, base + 2, 100), Made(base + 1, base + 2, 100), Made(base + 2, min(base + 4, 18), 100)]
    chain = Chain([100] * 18, made, frozenset(n for n in range(18) if n % 3 < 2), frozenset())
    cuts = narrow(chain)
    assert {3, 6, 9, 12, 15} <= set(cuts)
    assert not {2, 5, 8, 11, 14} & set(cuts)


def test_nothing_to_cut_is_one_segment() -> None:
    empty = Chain([], [], frozenset(), frozenset())
    one = Chain([0], [], frozenset(), frozenset())
    assert fewest_bytes(one) == narrow(one) == [0, 1]
    assert fewest_bytes(empty) == narrow(empty) == [0]


def test_turns_are_grouped_by_the_root_and_once_more_where_a_turn_makes_much() -> None:
    assert group(100, carry=100, more=0) == Grouping(10, twice=False)
    assert group(100, carry=100, more=100) == Grouping(5, twice=False)
    assert group(12, carry=1, more=1000) == Grouping(1, twice=False)
    assert group(400, carry=100, more=1500).twice
    # A prime number of turns is no reason to keep all.
    assert 5 <= group(97, carry=100, more=0).turns <= 20
    assert group(1, carry=100, more=100) == Grouping(1, twice=False)

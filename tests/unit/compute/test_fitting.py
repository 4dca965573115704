"""Which choice of checkpointing is taken: by figures of compiled programs, and no more of them than needed."""

from __future__ import annotations

import dataclasses

import pytest

from gradserve_server.common.errors import Problem, Reason
from gradserve_server.common.specs import Checkpointing, Footprint
from gradserve_server.compute.fitting import find_fitting

CHOICES = (Checkpointing.OFF, Checkpointing.PRODUCTS, Checkpointing.BLOCKS, Checkpointing.SQRT)
PEAKS = dict(zip(CHOICES, (900_000, 700_000, 800_000, 300_000), strict=True))


@dataclasses.dataclass(frozen=True)
class Compiled:
    choice: Checkpointing
    footprint: Footprint


class Compiler:
    """Makes what has the peaks above, and remembers of which choices."""

    def __init__(self) -> None:
        self.compiled: list[Checkpointing] = []

    def __call__(self, choice: Checkpointing) -> Compiled:
        self.compiled.append(choice)
        return Compiled(choice, Footprint(arguments=10_000, results=5_000, peak=PEAKS[choice]))


def needed(choice: Checkpointing) -> int:
    return Footprint(10_000, 5_000, PEAKS[choice]).needed


@pytest.mark.parametrize(
    ("limit", "expected", "compiled"),
    [
        (needed(Checkpointing.OFF), Checkpointing.OFF, 1),
        (needed(Checkpointing.OFF) - 1, Checkpointing.PRODUCTS, 2),
        (needed(Checkpointing.PRODUCTS) - 1, Checkpointing.SQRT, 4),
        (needed(Checkpointing.SQRT), Checkpointing.SQRT, 4),
    ],
)
def test_automatic_takes_the_first_that_fits_and_compiles_no_further(
    limit: int, expected: Checkpointing, compiled: int
) -> None:
    compiler = Compiler()
    choice, found = find_fitting(CHOICES, Checkpointing.AUTOMATIC, compiler, limit)
    assert choice is found.choice is expected
    assert compiler.compiled == list(CHOICES[:compiled])


def refused(asked: Checkpointing, limit: int, compiler: Compiler) -> dict[str, str]:
    with pytest.raises(Problem) as caught:
        find_fitting(CHOICES, asked, compiler, limit)
    assert caught.value.reason is Reason.MEMORY_LIMIT
    return caught.value.metadata


def test_where_nothing_fits_all_numbers_are_told() -> None:
    compiler = Compiler()
    facts = refused(Checkpointing.AUTOMATIC, needed(Checkpointing.SQRT) - 1, compiler)
    assert {name: facts[f"needed_bytes_{name.value}"] for name in CHOICES} == {
        name: str(needed(name)) for name in CHOICES
    }
    assert facts["needed_bytes"] == str(needed(Checkpointing.SQRT))
    assert facts["limit_bytes"] == str(needed(Checkpointing.SQRT) - 1)
    assert facts["fits_with"] == ""
    assert "field" not in facts


def test_a_choice_of_the_callers_that_does_not_fit_is_refused_with_those_that_would() -> None:
    facts = refused(Checkpointing.BLOCKS, needed(Checkpointing.PRODUCTS), Compiler())
    assert facts["field"] == "options.checkpointing"
    assert facts["needed_bytes"] == str(needed(Checkpointing.BLOCKS))
    assert facts["fits_with"] == "products,sqrt"
    assert f"sqrt ({needed(Checkpointing.SQRT)} bytes)" in facts["hint"]


def test_a_choice_of_the_callers_that_fits_is_taken_whatever_is_faster() -> None:
    compiler = Compiler()
    choice, _ = find_fitting(CHOICES, Checkpointing.SQRT, compiler, 1 << 30)
    assert choice is Checkpointing.SQRT
    assert compiler.compiled == [Checkpointing.SQRT]


def test_nothing_more_is_compiled_where_what_comes_in_and_goes_out_is_too_much_already() -> None:
    compiler = Compiler()
    refused(Checkpointing.AUTOMATIC, Footprint(10_000, 5_000, 0).least - 1, compiler)
    assert compiler.compiled == [Checkpointing.OFF]


def test_a_program_that_keeps_nothing_has_no_choice() -> None:
    assert find_fitting((), Checkpointing.BLOCKS, Compiler(), 1)[0] is None


def test_arguments_that_the_device_takes_in_place_count_once() -> None:
    copied = Footprint(arguments=100 << 20, results=50 << 20, peak=160 << 20)
    in_place = Footprint(arguments=100 << 20, results=50 << 20, peak=160 << 20, in_place=100 << 20)
    assert in_place.beside == 60 << 20
    assert copied.beside == copied.peak
    assert copied.needed - in_place.needed == 100 << 20
    assert in_place.needed - in_place.least == 10 << 20


def test_gigabytes_that_come_in_pieces_and_whose_results_are_moved_count_once_each() -> None:
    gigabytes = Footprint(arguments=3 << 30, results=3 << 30, peak=(6 << 30) + (1 << 20), in_place=3 << 30)
    assert gigabytes.beside == 1 << 20
    assert gigabytes.needed < 6.1 * (1 << 30)

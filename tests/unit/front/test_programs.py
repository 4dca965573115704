"""Each program is prepared once, failures are told and not kept, and what is not used goes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from gradserve_server.common.errors import Problem, Reason
from gradserve_server.common.specs import ArraySpec, NetworkSource, Program, ProgramSpec, ResultSpec
from gradserve_server.front.programs import Prepared, Programs


def spec(name: str = "x") -> ProgramSpec:
    batch = (ArraySpec(name, "float32", (2, 3)),)
    return ProgramSpec(kind="forward", network=NetworkSource("graph", b"n"), loss=b"", batch=batch, weights=None)


def prepare(asked: ProgramSpec) -> Program:
    results = (ResultSpec("output", ArraySpec("y", "float64", (4,))),)
    return Program(asked.batch[0].name.encode(), asked.batch, results, (), 1, 0.0)


def get(programs: Programs, asked: ProgramSpec, how: Callable[[ProgramSpec], Program]) -> Prepared:
    return programs.get(asked.key(), asked, how)


class Gate:
    """Prepares once it is opened."""

    def __init__(self, error: Exception | None = None) -> None:
        self.calls = 0
        self.begun = threading.Event()
        self.open = threading.Event()
        self.error = error

    def prepare(self, asked: ProgramSpec) -> Program:
        self.calls += 1
        self.begun.set()
        assert self.open.wait(10)
        if self.error:
            raise self.error
        return prepare(asked)


def test_all_who_ask_at_once_get_one_program() -> None:
    programs, gate = Programs(8), Gate()
    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(get, programs, spec(), gate.prepare)
        assert gate.begun.wait(10)
        others = [pool.submit(get, programs, spec(), gate.prepare) for _ in range(7)]
        # A program under way does not keep others from being prepared.
        assert get(programs, spec("z"), prepare).program.key == b"z"
        gate.open.set()
        found = [one.result(10) for one in (first, *others)]
    assert gate.calls == 1
    assert all(one is found[0] for one in found)
    assert programs.find(spec().key()) is found[0]


def test_a_failure_is_told_to_all_who_wait_and_not_kept() -> None:
    programs, gate = Programs(8), Gate(Problem(Reason.INVALID_NODE, "bad"))
    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(get, programs, spec(), gate.prepare)
        assert gate.begun.wait(10)
        others = [pool.submit(get, programs, spec(), gate.prepare) for _ in range(3)]
        gate.open.set()
        for one in (first, *others):
            with pytest.raises(Problem, match="bad"):
                one.result(10)
    assert programs.find(spec().key()) is None
    assert get(programs, spec(), prepare).program.key == b"x"


def test_the_program_used_longest_ago_goes_first() -> None:
    programs = Programs(2)
    get(programs, spec("a"), prepare)
    get(programs, spec("b"), prepare)
    assert programs.find(spec("a").key())
    get(programs, spec("c"), prepare)
    assert [bool(programs.find(spec(name).key())) for name in "abc"] == [True, False, True]
    assert len(programs) == 2


def test_only_the_program_that_is_missing_is_forgotten() -> None:
    programs = Programs(2)
    stale = get(programs, spec(), prepare)
    programs.forget(spec().key(), stale)
    fresh = get(programs, spec(), prepare)
    programs.forget(spec().key(), stale)  # a slower call that had the old one as well
    assert programs.find(spec().key()) is fresh


def test_sizes_are_those_of_the_arrays() -> None:
    prepared = get(Programs(1), spec(), prepare)
    assert (prepared.block_bytes, prepared.result_bytes) == (2 * 3 * 4 + 4 * 8, 4 * 8)


def test_specs_that_differ_have_programs_of_their_own() -> None:
    programs = Programs(8)
    get(programs, spec(), prepare)
    other = ProgramSpec(
        kind="gradients", network=NetworkSource("graph", b"n"), loss=b"", batch=spec().batch, weights=None
    )
    assert programs.find(other.key()) is None

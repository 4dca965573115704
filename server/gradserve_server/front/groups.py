"""Runs that requests share: memory for all of them, one call of the worker, and to each its own results."""

from __future__ import annotations

import dataclasses
import logging
import threading
from collections.abc import Hashable, Sequence
from typing import Protocol, final

import msgspec
import numpy as np

from gradserve_server.common.budget import Budget, Reservation
from gradserve_server.common.errors import Problem
from gradserve_server.common.metrics import Metrics
from gradserve_server.common.specs import ProgramSpec
from gradserve_server.front.convert import Task
from gradserve_server.front.gathering import Gathering, Member
from gradserve_server.front.needs import Needs
from gradserve_server.front.programs import Prepared
from gradserve_server.worker.interface import Block, ProgramMissing, Seeds, Worker, WorkerDied

_LOGGER = logging.getLogger("gradserve_server.front")

# Requests that a run of several has room for.
SIZES = (4, 16)
# A program that takes longer gains little from company, and its requests would wait long for each other.
_CHEAP_SECONDS = 0.0005
# Compiling for groups is worth it for what is asked for by many at a time, and not once only.
_MEETINGS = 8


class Caller(Protocol):
    """What groups need of a call.

    Attributes:
        identity: equal for requests that came the same way; turns go round them.
    """

    @property
    def identity(self) -> Hashable: ...

    def check(self) -> None:
        """Raises a `Problem` if the caller has given up or its deadline has passed."""


class Apart(Exception):
    """The run of several came to nothing: each of its requests runs alone."""


@final
class Shared:
    """Memory of a run of several, until each of its requests has given its part back."""

    def __init__(self, block: Block, reservation: Reservation, requests: int) -> None:
        self._block = block
        self._reservation = reservation
        self._left = requests
        self._lock = threading.Lock()

    def leave(self) -> None:
        """One request needs it no more."""
        with self._lock:
            self._left -= 1
            is_last = not self._left
        if is_last:
            self._block.close()
            self._reservation.close()


@final
class Share:
    """One request's part of the memory of a run."""

    def __init__(self, shared: Shared) -> None:
        self._shared: Shared | None = shared

    def close(self) -> None:
        """Gives it back; a second time does nothing."""
        shared, self._shared = self._shared, None
        if shared is not None:
            shared.leave()


@dataclasses.dataclass(frozen=True)
class Row:
    """What a run of several gave one of them.

    Attributes:
        share: memory of the results.
        results: in the order of the results of its program.
        execute_seconds: of the run.
        requests: how many shared it.
    """

    share: Share
    results: tuple[np.ndarray, ...]
    execute_seconds: float
    requests: int


Entry = tuple[Task, Caller]
Outcome = Row | Problem | Apart
Turns = Gathering[Entry, Outcome]
Waiting = Member[Entry, Outcome]


@final
class Groups:
    """Thread-safe.

    Args:
        worker: what runs.
        budget: where memory of runs is reserved.
        metrics: counts requests by run.
        most_programs: how many programs the worker keeps.
    """

    def __init__(self, worker: Worker, budget: Budget, metrics: Metrics, most_programs: int) -> None:
        self._worker = worker
        self._budget = budget
        self._metrics = metrics
        self._most_programs = most_programs
        self._lock = threading.Lock()
        # Of each program, by its key: its turns, and itself for several requests, by how many.
        self._turns: dict[bytes, Turns] = {}
        self._prepared: dict[bytes, dict[int, Prepared]] = {}
        self._preparing = threading.Lock()

    def turns(self, prepared: Prepared) -> Turns | None:
        """The turns of a program; None where its requests never share a run."""
        program = prepared.program
        if not program.can_group:
            return None
        turns = self._turns.get(program.key)
        if turns is None:
            with self._lock:
                if len(self._turns) > 4 * self._most_programs:
                    # Who waits holds on to what it waits for.
                    self._turns.clear()
                    self._prepared.clear()
                turns = self._turns.setdefault(program.key, Turns())
        return turns

    def enter(self, turns: Turns, prepared: Prepared, task: Task, caller: Caller) -> Row | None:
        """A part of a run of several; None if it is the request's turn to run alone, which ends with `turns.leave`.

        Raises:
            Problem: the request is at fault, or its caller has given up.
            Apart: the run failed.
        """
        member = turns.enter((task, caller), caller.identity)
        if member is None:
            if turns.met >= _MEETINGS and turns.capacity == 1:
                self._prepare(turns, prepared, task.spec)
            return None
        member.wait()
        if member.leads:
            return self._lead(turns, prepared, member)
        outcome = member.outcome
        if isinstance(outcome, Row):
            return outcome
        assert outcome is not None
        raise outcome

    def _lead(self, turns: Turns, prepared: Prepared, leader: Waiting) -> Row | None:
        try:
            leader.entry[1].check()
        except BaseException:
            turns.leave()
            raise
        members = [leader]
        for one in turns.take(turns.capacity - 1):
            try:
                one.entry[1].check()
            except Problem as problem:
                one.end(problem)
            else:
                members.append(one)
        if len(members) == 1:
            return None
        try:
            outcomes = self._run(turns, prepared, [one.entry[0] for one in members])
        except BaseException as error:
            # Whatever it was, it may be one's fault: alone, nobody else hears of it.
            if not isinstance(error, (Problem, ProgramMissing, WorkerDied)):
                _LOGGER.exception("a run of several requests failed")
            outcomes = [Apart() for _ in members]
        turns.leave()
        for one, outcome in zip(members[1:], outcomes[1:], strict=True):
            one.end(outcome)
        if isinstance(outcomes[0], Row):
            return outcomes[0]
        raise outcomes[0]

    def _run(self, turns: Turns, prepared: Prepared, tasks: Sequence[Task]) -> Sequence[Outcome]:
        key = prepared.program.key
        known = self._prepared.get(key, {})
        group = next((known[size] for size in SIZES if size >= len(tasks) and size in known), None)
        if group is None:
            turns.capacity = 1
            raise ProgramMissing
        program = group.program
        reservation = Needs(group.block_bytes, group.beside_bytes).reserve(self._budget)
        try:
            block = self._worker.allocate(program)
            try:
                _fill(block, tasks)
                run = self._worker.run(program, block, Seeds())
            except BaseException:
                block.close()
                raise
        except BaseException as error:
            reservation.close()
            if isinstance(error, (ProgramMissing, WorkerDied)):
                # Its successor is told when requests meet again.
                turns.capacity = 1
                self._prepared.pop(key, None)
            raise
        self._metrics.observe_run(len(tasks))
        shared = Shared(block, reservation, len(tasks))
        stacks = run.results
        failed = stacks[-1] if program.problems else None
        outcomes: list[Outcome] = []
        for place in range(len(tasks)):
            share = Share(shared)
            if failed is not None:
                if failed[place].any():
                    outcomes.append(Problem.from_data(program.problems[int(np.argmax(failed[place]))]))
                    share.close()
                    continue
                results = tuple(one[place, ...] for one in stacks[:-1])
            else:
                results = tuple(one[place, ...] for one in stacks)
            outcomes.append(Row(share, results, run.execute_seconds, len(tasks)))
        return outcomes

    def _prepare(self, turns: Turns, prepared: Prepared, spec: ProgramSpec) -> None:
        """Has programs for several requests made, meanwhile; one after the other, as all of them take the processor."""
        if turns.fastest_seconds > _CHEAP_SECONDS or not self._preparing.acquire(blocking=False):
            return

        def prepare() -> None:
            try:
                for size in SIZES:
                    group = self._worker.prepare(msgspec.structs.replace(spec, requests=size))
                    self._prepared.setdefault(prepared.program.key, {})[size] = Prepared.of(group)
                    turns.capacity = size
            except (Problem, WorkerDied):
                turns.met = 0
            except Exception:
                turns.met = -(1 << 62)
                _LOGGER.exception("cannot be prepared for runs of several requests")
            finally:
                self._preparing.release()

        threading.Thread(target=prepare, name="prepare-group", daemon=True).start()


def _fill(block: Block, tasks: Sequence[Task]) -> None:
    """Copies the arguments of all requests to where the run takes them from."""
    *arguments, seeds, count = block.arguments
    for place, task in enumerate(tasks):
        for index, content in enumerate(task.arrays):
            if isinstance(content, np.ndarray):
                arguments[index][place, ...] = content
            else:
                start = place * content.nbytes
                room = block.flat[index]
                assert room is not None
                room[start : start + content.nbytes] = content
        seeds[place] = task.seeds.random
    count[...] = len(tasks)

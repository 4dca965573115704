"""Turns of a program: who runs, who waits, and in which order."""

from __future__ import annotations

import threading

from gradserve_server.front.gathering import Gathering


def turns(capacity: int = 4) -> Gathering[str, str]:
    gathering = Gathering[str, str]()
    gathering.capacity = capacity
    return gathering


def entries(members: list) -> list[str]:
    return [one.entry for one in members]


def test_who_finds_nobody_under_way_runs_at_once() -> None:
    gathering = turns()
    assert gathering.enter("first", "a") is None
    gathering.leave()
    assert gathering.enter("second", "a") is None


def test_nobody_waits_where_runs_cannot_be_shared() -> None:
    gathering = turns(capacity=1)
    assert [gathering.enter(entry, "a") for entry in ("first", "second", "third")] == [None, None, None]
    assert gathering.met == 2


def test_who_comes_while_one_is_under_way_waits_and_is_taken_along() -> None:
    gathering = turns()
    assert gathering.enter("first", "a") is None
    waiting = [gathering.enter(entry, "a") for entry in ("second", "third", "fourth")]
    gathering.leave()
    leader, *others = waiting
    assert leader is not None
    leader.wait()
    assert leader.leads
    assert entries(gathering.take(3)) == ["third", "fourth"]
    for one in others:
        assert one is not None
        one.end("done")
        one.wait()
        assert not one.leads
        assert one.outcome == "done"
    gathering.leave()
    assert gathering.enter("fifth", "a") is None


def test_no_more_are_taken_than_there_is_room_for() -> None:
    gathering = turns()
    gathering.enter("first", "a")
    for number in range(6):
        gathering.enter(str(number), "a")
    assert entries(gathering.take(3)) == ["0", "1", "2"]
    assert entries(gathering.take(3)) == ["3", "4", "5"]
    assert gathering.take(3) == []


def test_turns_go_round_the_callers() -> None:
    gathering = turns()
    gathering.enter("first", "greedy")
    for number in range(5):
        gathering.enter(f"greedy {number}", "greedy")
    gathering.enter("modest 0", "modest")
    gathering.enter("other 0", "other")
    gathering.enter("other 1", "other")
    order = entries(gathering.take(8))
    assert order == ["greedy 0", "modest 0", "other 0", "greedy 1", "other 1", "greedy 2", "greedy 3", "greedy 4"]


def test_each_of_many_threads_gets_its_turn_or_an_outcome() -> None:
    gathering = turns(capacity=16)
    runs: list[int] = []
    ended: list[str] = []

    def ask(entry: str) -> None:
        member = gathering.enter(entry, entry[0])
        if member is not None:
            member.wait()
            if not member.leads:
                ended.append(member.outcome or "")
                return
        others = gathering.take(gathering.capacity - 1)
        runs.append(1 + len(others))
        gathering.leave()
        for one in others:
            one.end(one.entry)
        ended.append(entry)

    threads = [threading.Thread(target=ask, args=(f"{number % 3} {number}",)) for number in range(200)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert sorted(ended) == sorted(f"{number % 3} {number}" for number in range(200))
    assert sum(runs) == 200


def test_the_fastest_run_counts() -> None:
    gathering = turns()
    for seconds in (0.3, 0.1, 0.2):
        gathering.enter("one", "a")
        gathering.leave(seconds)
    assert gathering.fastest_seconds == 0.1

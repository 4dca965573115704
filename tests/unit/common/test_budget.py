import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradserve_server.common.budget import Budget, Purpose
from gradserve_server.common.errors import Problem, Reason


@given(st.lists(st.tuples(st.integers(0, 60), st.sampled_from(Purpose)), max_size=30), st.data())
def test_the_ledger_is_the_sum_of_what_is_held(asked, data):
    budget = Budget(100)
    held = []
    for nbytes, purpose in asked:
        fits = sum(one.nbytes for one in held) + nbytes <= 100
        try:
            held.append(budget.reserve((purpose, nbytes)))
        except Problem:
            assert not fits
        else:
            assert fits
        if held and data.draw(st.booleans()):
            held.pop(data.draw(st.integers(0, len(held) - 1))).close()
        assert budget.used == sum(one.nbytes for one in held)
        for each in Purpose:
            assert budget.used_by(each) == sum(one.nbytes for one in held if one.amounts[0][0] is each)


def test_what_would_fit_later_is_to_be_tried_again():
    budget = Budget(100)
    with budget.reserve((Purpose.BLOCKS, 60)), pytest.raises(Problem) as caught:
        budget.reserve((Purpose.REQUESTS, 50))
    assert caught.value.reason is Reason.OVERLOADED
    assert caught.value.retry_seconds is not None
    assert caught.value.metadata["needed_bytes"] == "50"
    assert caught.value.metadata["limit_bytes"] == "100"
    assert caught.value.metadata["used_bytes"] == "60"
    budget.reserve((Purpose.REQUESTS, 50))


def test_what_never_fits_beside_the_programs_is_refused_for_good():
    budget = Budget(100)
    budget.reserve((Purpose.PROGRAMS, 30))
    with pytest.raises(Problem) as caught:
        budget.reserve((Purpose.BLOCKS, 71))
    assert caught.value.reason is Reason.MEMORY_LIMIT
    assert caught.value.retry_seconds is None
    assert caught.value.metadata["limit_bytes"] == "70"


def test_closing_again_gives_nothing_back():
    budget = Budget(100)
    other = budget.reserve((Purpose.BLOCKS, 10))
    reservation = budget.reserve((Purpose.BLOCKS, 60))
    reservation.close()
    reservation.close()
    assert budget.used == other.nbytes


def test_a_negative_size_is_a_bug_of_the_caller():
    with pytest.raises(ValueError, match="-1"):
        Budget(100).reserve((Purpose.BLOCKS, -1))


def test_threads_never_hold_more_than_there_is():
    budget = Budget(5)
    most = []
    refusals = set()

    def take() -> None:
        for _ in range(300):
            try:
                with budget.reserve((Purpose.EXECUTION, 2)):
                    most.append(budget.used)
            except Problem as problem:
                refusals.add(problem.reason)

    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(most) <= 4
    assert refusals <= {Reason.OVERLOADED}
    assert budget.used == 0


def test_bytes_for_two_purposes_are_taken_together_or_not_at_all():
    budget = Budget(100)
    with budget.reserve((Purpose.BLOCKS, 40), (Purpose.EXECUTION, 50)):
        assert (budget.used_by(Purpose.BLOCKS), budget.used_by(Purpose.EXECUTION)) == (40, 50)
        with pytest.raises(Problem):
            budget.reserve((Purpose.BLOCKS, 5), (Purpose.EXECUTION, 6))
        assert budget.used == 90
    assert budget.used == 0

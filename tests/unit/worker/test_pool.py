import socket
import threading
import time

import pytest

from gradserve_server.common.errors import Problem, Reason
from gradserve_server.worker.lanes import Kind, Lane, LaneClosed
from gradserve_server.worker.pool import LanePool


@pytest.fixture
def lanes():
    """Makes lanes of a generation, and closes them."""
    made = []

    def make(count, generation=1):
        ends = []
        for _ in range(count):
            left, right = socket.socketpair()
            made.append(right)
            ends.append(Lane(left, generation=generation))
        made.extend(ends)
        return ends

    yield make
    for one in made:
        one.close()


def in_thread(function):
    """Starts `function` and gives a list that will hold what it gave or raised."""
    outcome = []

    def run():
        try:
            outcome.append(function())
        except Problem as problem:
            outcome.append(problem)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, outcome


def test_the_lane_last_used_is_taken_first(lanes):
    pool = LanePool(5)
    pool.open(1, lanes(3))
    first, second = pool.acquire(), pool.acquire()
    pool.release(second)
    pool.release(first)
    assert pool.acquire() is first


def test_whoever_came_first_is_served_first(lanes):
    pool = LanePool(5)
    pool.open(1, lanes(1))
    lane = pool.acquire()
    order = []
    threads = []
    for number in range(5):

        def wait(number=number):
            taken = pool.acquire()
            order.append(number)
            pool.release(taken)

        threads.append(threading.Thread(target=wait))
        threads[-1].start()
        while len(pool._waiters) <= number:
            time.sleep(0.001)
    pool.release(lane)
    for thread in threads:
        thread.join()
    assert order == [0, 1, 2, 3, 4]


def test_callers_wait_for_the_next_worker(lanes):
    pool = LanePool(5)
    assert not pool.ready
    thread, outcome = in_thread(pool.acquire)
    made = lanes(1)
    pool.open(1, made)
    thread.join()
    assert outcome == made
    assert pool.ready


def test_nobody_waits_for_a_worker_for_ever():
    pool = LanePool(0.05)
    with pytest.raises(Problem) as caught:
        pool.acquire()
    assert caught.value.reason is Reason.NOT_READY


def test_a_busy_worker_is_waited_for_beyond_that(lanes):
    pool = LanePool(0.02)
    pool.open(1, lanes(1))
    lane = pool.acquire()
    thread, outcome = in_thread(pool.acquire)
    time.sleep(0.1)
    assert outcome == []
    pool.release(lane)
    thread.join()
    assert outcome == [lane]


def test_lanes_of_a_worker_that_is_gone_are_closed_and_not_taken(lanes):
    pool = LanePool(5)
    pool.open(1, lanes(2))
    used = pool.acquire()
    pool.retire(1)
    assert not pool.ready
    fresh = lanes(1, generation=2)
    pool.open(2, fresh)
    pool.release(used)
    with pytest.raises(LaneClosed):
        used.send(Kind.RUN, b"")
    assert pool.acquire() is fresh[0]


def test_retiring_an_older_worker_again_leaves_the_present_one(lanes):
    pool = LanePool(5)
    pool.open(1, lanes(1))
    pool.retire(1)
    pool.open(2, lanes(1, generation=2))
    pool.retire(1)
    assert pool.ready


def test_closing_ends_every_wait(lanes):
    pool = LanePool(5)
    thread, outcome = in_thread(pool.acquire)
    while not pool._waiters:
        time.sleep(0.001)
    pool.close()
    thread.join()
    assert outcome[0].reason is Reason.DRAINING
    with pytest.raises(Problem):
        pool.acquire()

"""When calls are tried again, as a pure function."""

import pytest

import gradserve as gs
from gradserve.transport.attempts import Attempts
from gradserve.transport.channel import Settings
from gradserve.transport.retry import Progress, wait_before_retry

POLICY = gs.RetryPolicy(attempts=4, first_wait=1.0, factor=2.0, longest_wait=3.0)
DRAINING = gs.Unavailable("draining", reason="DRAINING")
GONE = gs.Unavailable("connection refused")


def wait(error=DRAINING, attempts=1, remaining=None, unreachable=0.0, chance=0.0, policy=POLICY):
    return wait_before_retry(policy, 5.0, error, Progress(attempts, remaining, unreachable), chance)


def attempts_of(own=None, **settings):
    return Attempts(Settings("localhost:1", **settings), own)


def test_waiting_times_grow_up_to_the_longest():
    assert [wait(attempts=n, chance=1.0) for n in (1, 2, 3)] == [1.0, 2.0, 3.0]


def test_waiting_times_are_spread_over_their_upper_half():
    assert (wait(chance=0.0), wait(chance=0.5), wait(chance=1.0)) == (0.5, 0.75, 1.0)


def test_the_last_attempt_is_the_last():
    assert wait(attempts=3) is not None
    assert wait(attempts=4) is None
    assert wait(policy=gs.RetryPolicy(attempts=1)) is None


def test_a_server_that_is_not_there_is_looked_for_until_the_connect_timeout():
    assert wait(GONE, attempts=0) == 0.05
    assert wait(GONE, attempts=9, unreachable=4.9, chance=0.9) == pytest.approx(0.095)
    assert wait(GONE, unreachable=4.96) is None
    assert wait(GONE, remaining=0.04) is None


@pytest.mark.parametrize(
    "kind",
    [
        gs.InvalidRequest,
        gs.Unsupported,
        gs.LimitExceeded,
        gs.MissingContent,
        gs.DeadlineExceeded,
        gs.Unauthenticated,
        gs.PermissionDenied,
        gs.ClientClosed,
        gs.ServerFault,
    ],
)
def test_what_would_fail_again_is_not_tried_again(kind):
    assert wait(kind("no")) is None


def test_the_server_s_own_time_is_waited_at_least():
    assert wait(gs.Overloaded("busy", retry_seconds=2.0), chance=0.0) == 2.0
    assert wait(gs.Overloaded("busy", retry_seconds=2.0), chance=1.0) == 2.5
    assert wait(gs.Overloaded("busy", retry_seconds=0.0), chance=1.0) == 1.0
    assert wait(gs.Unavailable("draining", reason="DRAINING", retry_seconds=2.0)) == 2.0


def test_a_time_beyond_the_longest_is_not_waited():
    assert wait(gs.Overloaded("busy", retry_seconds=3.1)) is None


def test_nothing_is_waited_for_that_the_timeout_does_not_allow():
    assert wait(remaining=0.6, chance=0.0) == 0.5
    assert wait(remaining=0.5, chance=0.0) is None


def test_attempts_give_up_with_the_error_itself():
    attempts = attempts_of(retry=gs.RetryPolicy(attempts=2, first_wait=0.01))
    assert 0 < attempts.wait_after(DRAINING) <= 0.01
    with pytest.raises(gs.Unavailable) as caught:
        attempts.wait_after(DRAINING)
    assert caught.value is DRAINING


def test_attempts_that_found_nobody_are_not_counted():
    attempts = attempts_of(retry=gs.RetryPolicy(attempts=2, first_wait=0.01))
    for _ in range(10):
        assert attempts.wait_after(GONE) <= 0.1
    assert attempts.wait_after(DRAINING) <= 0.01


def test_attempts_that_found_nobody_give_up_with_the_address():
    with pytest.raises(gs.Unavailable, match=r"localhost:1 \(connection refused\)"):
        attempts_of(connect_timeout=0.0).wait_after(GONE)


def test_remaining_time_never_goes_below_zero():
    assert attempts_of(-1.0).remaining() == 0.0
    assert attempts_of(0.0, timeout=5.0).remaining() == 0.0
    assert 5 < attempts_of(10.0, timeout=5.0).remaining() <= 10.0
    assert 0 < attempts_of(None, timeout=5.0).remaining() <= 5.0
    assert attempts_of(float("inf"), timeout=5.0).remaining() is None
    assert attempts_of().remaining() is None

"""When a call is tried again. Computing is pure, so that a retry can do no harm but take time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from gradserve.errors import GradserveError, Overloaded, Unavailable

_RECONNECT_WAIT = 0.1
"""Seconds at most between two looks for a server that is not there."""


@final
@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and after what time calls are tried again.

    Tried again are calls that a server refused because it is about to stop or start
    (`Unavailable`) or has no room (`Overloaded`), within their timeout. Waiting times grow by
    `factor` and are spread at random over their upper half, so that callers that failed together
    do not come back together. What the server asks for (RetryInfo) is waited at least. Where there
    is no server at all, the client's `connect_timeout` counts, and nothing of this.

    Attributes:
        attempts: how often a call is sent at most; 1 never tries again.
        first_wait: seconds before the second attempt, at most.
        factor: by which waiting times grow.
        longest_wait: seconds; where the server asks for more, the call fails at once.
    """

    attempts: int = 5
    first_wait: float = 0.1
    factor: float = 2.0
    longest_wait: float = 30.0


@final
@dataclass(frozen=True, slots=True)
class Progress:
    """How far a call has come.

    Attributes:
        attempts: attempts that a server answered, at least 1 where the last one was.
        remaining: seconds left of the call's timeout; None without one.
        unreachable: seconds since the call first found nobody.
    """

    attempts: int
    remaining: float | None = None
    unreachable: float = 0.0


def is_unreachable(error: GradserveError) -> bool:
    """Whether nobody answered: a gradserve server that answers gives a reason."""
    return isinstance(error, Unavailable) and not error.reason


def wait_before_retry(
    policy: RetryPolicy,
    connect_timeout: float,
    error: GradserveError,
    progress: Progress,
    chance: float,
) -> float | None:
    """Seconds to wait before the next attempt, or None if there is to be none.

    Args:
        policy: the policy.
        connect_timeout: seconds to look for a server.
        error: how the last attempt failed.
        progress: how far the call has come.
        chance: a random number in [0, 1).
    """
    if is_unreachable(error):
        wait = _RECONNECT_WAIT * (1 + chance) / 2
        if progress.unreachable + wait > connect_timeout:
            return None
    elif isinstance(error, (Unavailable, Overloaded)) and progress.attempts < policy.attempts:
        grown = policy.first_wait * policy.factor ** (progress.attempts - 1)
        wait = min(policy.longest_wait, grown) * (1 + chance) / 2
        asked = error.retry_seconds or 0.0
        if asked > policy.longest_wait:
            return None
        wait = max(wait, asked * (1 + chance / 4))
    else:
        return None
    return wait if progress.remaining is None or wait < progress.remaining else None

"""When a call is tried again. Computing is pure, so that a retry can do no harm but take time."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from typing import final

from gradserve.errors import GradserveError, Overloaded, Unavailable


@final
@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and after what time calls are tried again.

    Tried again are calls that found nobody (`Unavailable`) or no room (`Overloaded`), within their
    timeout. Waiting times grow by `factor` and are spread at random over their upper half, so that
    callers that failed together do not come back together. What the server asks for (RetryInfo) is
    waited at least.

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


def wait_before_retry(
    policy: RetryPolicy,
    error: GradserveError,
    attempts: int,
    remaining: float | None,
    chance: float,
) -> float | None:
    """Seconds to wait before the next attempt, or None if there is to be none.

    Args:
        policy: the policy.
        error: how the last attempt failed.
        attempts: attempts so far, at least 1.
        remaining: seconds left of the call's timeout; None without one.
        chance: a random number in [0, 1).
    """
    if not isinstance(error, (Unavailable, Overloaded)) or attempts >= policy.attempts:
        return None
    wait = min(policy.longest_wait, policy.first_wait * policy.factor ** (attempts - 1))
    wait *= (1 + chance) / 2
    if error.retry_seconds is not None:
        if error.retry_seconds > policy.longest_wait:
            return None
        wait = max(wait, error.retry_seconds * (1 + chance / 4))
    return wait if remaining is None or wait < remaining else None


@final
class Attempts:
    """The attempts of one call: how many there were, and how much of its timeout is left."""

    def __init__(self, policy: RetryPolicy, timeout: float | None) -> None:
        self._policy = policy
        self._count = 0
        unlimited = timeout is None or timeout == float("inf")
        self._deadline = None if unlimited else time.monotonic() + (timeout or 0.0)

    def remaining(self) -> float | None:
        """Seconds left, not below 0; None without a timeout."""
        if self._deadline is None:
            return None
        return max(0.0, self._deadline - time.monotonic())

    def wait_after(self, error: GradserveError) -> float:
        """Seconds to wait before the next attempt.

        Raises:
            GradserveError: `error`, if there is to be no other attempt.
        """
        self._count += 1
        wait = wait_before_retry(
            self._policy,
            error,
            self._count,
            self.remaining(),
            random.random(),  # noqa: S311 (spreads load, keeps no secret)
        )
        if wait is None:
            raise error
        return wait

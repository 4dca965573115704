"""The attempts of one call: how many there were, and how much of its timeout is left."""

from __future__ import annotations

import math
import random
import time
from typing import final

from gradserve.errors import GradserveError, Unavailable
from gradserve.transport.channel import Settings
from gradserve.transport.retry import Progress, is_unreachable, wait_before_retry


@final
class Attempts:
    """Counts the attempts of one call and decides on the next.

    Args:
        settings: the client's.
        timeout: the call's, in place of the client's.
    """

    def __init__(self, settings: Settings, timeout: float | None) -> None:
        self._settings = settings
        seconds = settings.timeout if timeout is None else timeout
        unlimited = seconds is None or seconds == math.inf
        self._deadline = None if unlimited else time.monotonic() + (seconds or 0.0)
        self._answered = 0
        self._unreachable_since: float | None = None

    def remaining(self) -> float | None:
        """Seconds left, not below 0; None without a timeout."""
        if self._deadline is None:
            return None
        return max(0.0, self._deadline - time.monotonic())

    def wait_after(self, error: GradserveError) -> float:
        """Seconds to wait before the next attempt.

        Raises:
            GradserveError: there is to be no other attempt.
        """
        unreachable = 0.0
        if is_unreachable(error):
            now = time.monotonic()
            if self._unreachable_since is None:
                self._unreachable_since = now
            unreachable = now - self._unreachable_since
        else:
            self._answered += 1
            self._unreachable_since = None
        wait = wait_before_retry(
            self._settings.retry,
            self._settings.connect_timeout,
            error,
            Progress(self._answered, self.remaining(), unreachable),
            random.random(),  # noqa: S311 (spreads load, keeps no secret)
        )
        if wait is None:
            raise self._nobody(error) if is_unreachable(error) else error
        return wait

    def _nobody(self, error: GradserveError) -> Unavailable:
        address = self._settings.address
        return Unavailable(
            f"no answer from {address} ({error.message}). Is the server running there? "
            "`gradserve serve --address ...` starts one, and gs.local() one of its own.",
            code=error.code,
            given=address,
        )

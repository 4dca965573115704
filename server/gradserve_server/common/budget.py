"""One ledger of bytes: whatever takes much memory reserves it here before it allocates."""

from __future__ import annotations

import enum
import threading
from types import TracebackType
from typing import Self, final

from gradserve_server.common.errors import Problem, Reason

_RETRY_SECONDS = 1.0


class Purpose(enum.Enum):
    """What memory is for."""

    REQUESTS = "requests"  # bytes of requests as they came
    BLOCKS = "blocks"  # arguments and results of runs
    EXECUTION = "execution"  # what runs take on the device
    PROGRAMS = "programs"  # compiled programs; held for long, so waiting does not help


@final
class Reservation:
    """Bytes taken from a budget until `close`, which may be called again without effect."""

    def __init__(self, budget: Budget, nbytes: int, purpose: Purpose) -> None:
        self.nbytes = nbytes
        self.purpose = purpose
        self._budget: Budget | None = budget
        self._lock = threading.Lock()

    def close(self) -> None:
        with self._lock:
            budget, self._budget = self._budget, None
        if budget is not None:
            budget._give_back(self)  # noqa: SLF001 (one class in two)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


@final
class Budget:
    """Thread-safe. Refuses what does not fit; never waits."""

    def __init__(self, total_bytes: int) -> None:
        self.total_bytes = total_bytes
        self._lock = threading.Lock()
        self._used = dict.fromkeys(Purpose, 0)

    @property
    def used(self) -> int:
        """Bytes that are reserved."""
        with self._lock:
            return sum(self._used.values())

    def used_by(self, purpose: Purpose) -> int:
        """Bytes that are reserved for `purpose`."""
        with self._lock:
            return self._used[purpose]

    def reserve(self, nbytes: int, purpose: Purpose) -> Reservation:
        """Takes `nbytes` until the reservation is closed.

        Raises:
            Problem: OVERLOADED where it would fit if other requests had ended; MEMORY_LIMIT where
                it never would.
        """
        if nbytes < 0:
            raise ValueError(f"cannot reserve {nbytes} bytes")
        with self._lock:
            used = sum(self._used.values())
            programs = self._used[Purpose.PROGRAMS]
            if used + nbytes <= self.total_bytes:
                self._used[purpose] += nbytes
                return Reservation(self, nbytes, purpose)
        limit = self.total_bytes - programs
        metadata = {"needed_bytes": str(nbytes), "limit_bytes": str(limit), "used_bytes": str(used)}
        if nbytes > limit:
            raise Problem(
                Reason.MEMORY_LIMIT,
                "the request needs more memory than there is",
                given=f"{nbytes} bytes",
                expected=f"at most {limit} bytes",
                metadata=metadata,
            )
        raise Problem(
            Reason.OVERLOADED,
            f"the memory is in use by other requests ({used} of {self.total_bytes} bytes)",
            given=f"{nbytes} bytes",
            retry_seconds=_RETRY_SECONDS,
            metadata=metadata,
        )

    def _give_back(self, reservation: Reservation) -> None:
        with self._lock:
            self._used[reservation.purpose] -= reservation.nbytes

"""One ledger of bytes: whatever takes much memory reserves it here before it allocates."""

from __future__ import annotations

import enum
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self, final

from gradserve_server.common.errors import Problem, Reason

_RETRY_SECONDS = 1.0


class Purpose(enum.Enum):
    """What memory is for."""

    REQUESTS = "requests"  # bytes of requests as they came
    BLOCKS = "blocks"  # arguments and results of runs
    EXECUTION = "execution"  # what runs take on the device
    STORE = "store"  # what callers sent to be named by digest
    PROGRAMS = "programs"  # compiled programs; held for long, so waiting does not help


@final
class Reservation:
    """Bytes taken from a budget until `close`, which may be called again without effect."""

    __slots__ = ("_budget", "amounts", "is_open")

    def __init__(self, budget: Budget, amounts: tuple[tuple[Purpose, int], ...]) -> None:
        self.amounts = amounts
        self.is_open = True
        self._budget = budget

    @property
    def nbytes(self) -> int:
        """All bytes of it."""
        return sum(nbytes for _, nbytes in self.amounts)

    def close(self) -> None:
        self._budget._give_back(self)  # noqa: SLF001 (one class in two)

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
    """Thread-safe. Refuses what does not fit; never waits.

    Attributes:
        make_way: called with how many bytes are missing, before they are refused; may give some back.
    """

    def __init__(self, total_bytes: int) -> None:
        self.total_bytes = total_bytes
        self.make_way: Callable[[int], None] = lambda _: None
        self._lock = threading.Lock()
        self._used = dict.fromkeys(Purpose, 0)
        self._total_used = 0

    @property
    def used(self) -> int:
        """Bytes that are reserved."""
        with self._lock:
            return self._total_used

    def used_by(self, purpose: Purpose) -> int:
        """Bytes that are reserved for `purpose`."""
        with self._lock:
            return self._used[purpose]

    def reserve(self, *amounts: tuple[Purpose, int]) -> Reservation:
        """Takes bytes, each for its purpose, until the reservation is closed.

        Raises:
            Problem: OVERLOADED where it would fit if other requests had ended; MEMORY_LIMIT where
                it never would. Nothing is taken then.
        """
        nbytes = 0
        for _, amount in amounts:
            if amount < 0:
                raise ValueError(f"cannot reserve {amount} bytes")
            nbytes += amount
        reservation = self._take(nbytes, amounts)
        if reservation is None:
            self.make_way(nbytes - (self.total_bytes - self.used))
            reservation = self._take(nbytes, amounts)
        if reservation is None:
            raise self._refusal(nbytes)
        return reservation

    def _take(self, nbytes: int, amounts: tuple[tuple[Purpose, int], ...]) -> Reservation | None:
        with self._lock:
            used = self._total_used
            if used + nbytes > self.total_bytes:
                return None
            self._total_used = used + nbytes
            for purpose, amount in amounts:
                self._used[purpose] += amount
        return Reservation(self, amounts)

    def _refusal(self, nbytes: int) -> Problem:
        with self._lock:
            used, programs = self._total_used, self._used[Purpose.PROGRAMS]
        limit = self.total_bytes - programs
        metadata = {"needed_bytes": str(nbytes), "limit_bytes": str(limit), "used_bytes": str(used)}
        if nbytes > limit:
            return Problem(
                Reason.MEMORY_LIMIT,
                "the request needs more memory than there is",
                given=f"{nbytes} bytes",
                expected=f"at most {limit} bytes",
                metadata=metadata,
            )
        return Problem(
            Reason.OVERLOADED,
            f"the memory is in use by other requests ({used} of {self.total_bytes} bytes)",
            given=f"{nbytes} bytes",
            retry_seconds=_RETRY_SECONDS,
            metadata=metadata,
        )

    def _give_back(self, reservation: Reservation) -> None:
        with self._lock:
            if not reservation.is_open:
                return
            reservation.is_open = False
            for purpose, amount in reservation.amounts:
                self._used[purpose] -= amount
                self._total_used -= amount

"""The lanes that are free: first come, first served."""

from __future__ import annotations

import collections
import threading
import time
from collections.abc import Iterable
from typing import final

from gradserve_server.common.errors import Problem, Reason
from gradserve_server.worker.lanes import Lane


class _Waiter:
    """One thread that waits for a lane: whoever gives it one releases the lock."""

    def __init__(self) -> None:
        self.lane: Lane | None = None
        self.given = threading.Lock()
        self.given.acquire()


@final
class LanePool:
    """Thread-safe. Lanes come and go with the worker process that they lead to.

    The lane last used is the next to be taken, as its thread's memory is still warm. While there is
    no worker process, callers wait for the next one, but no longer than `patience_seconds`.
    """

    def __init__(self, patience_seconds: float) -> None:
        self._patience_seconds = patience_seconds
        self._lock = threading.Lock()
        self._free: list[Lane] = []
        self._waiters: collections.deque[_Waiter] = collections.deque()
        self._generation: int | None = None  # of the living worker process
        self._absent_since = time.monotonic()
        self._closed = False

    @property
    def ready(self) -> bool:
        """Whether there is a worker process."""
        return self._generation is not None

    def acquire(self) -> Lane:
        """A free lane, which the caller releases or leaves to `retire`.

        Raises:
            Problem: NOT_READY if there was no worker process for too long, DRAINING after `close`.
        """
        with self._lock:
            self._check_open()
            if self._free:
                return self._free.pop()
            waiter = _Waiter()
            self._waiters.append(waiter)
        return self._wait(waiter)

    def release(self, lane: Lane) -> None:
        """Takes `lane` back, or closes it if its worker process is gone."""
        with self._lock:
            if lane.generation == self._generation:
                self._offer(lane)
                return
        lane.close()

    def open(self, generation: int, lanes: Iterable[Lane]) -> None:
        """Puts the lanes of a fresh worker process into use."""
        with self._lock:
            self._generation = generation
            for lane in lanes:
                self._offer(lane)

    def retire(self, generation: int) -> None:
        """Takes the lanes of a worker process out of use."""
        with self._lock:
            if generation != self._generation:
                return
            self._generation = None
            self._absent_since = time.monotonic()
            lanes, self._free = self._free, []
        for lane in lanes:
            lane.close()

    def close(self) -> None:
        """Ends the wait of all who wait, and refuses who come later."""
        with self._lock:
            self._closed = True
            waiters, self._waiters = self._waiters, collections.deque()
            for waiter in waiters:
                waiter.given.release()

    def _offer(self, lane: Lane) -> None:
        if self._waiters:
            waiter = self._waiters.popleft()
            waiter.lane = lane
            waiter.given.release()
        else:
            self._free.append(lane)

    def _wait(self, waiter: _Waiter) -> Lane:
        while not waiter.given.acquire(timeout=self._patience_seconds):
            with self._lock:
                absent = self._generation is None
                waited = time.monotonic() - self._absent_since
                if absent and waited >= self._patience_seconds and waiter in self._waiters:
                    self._waiters.remove(waiter)
                    raise Problem(
                        Reason.NOT_READY,
                        "there is no worker to compute",
                        retry_seconds=self._patience_seconds,
                    )
        if waiter.lane is None:
            self._check_open()
            raise AssertionError("woken without a lane")
        return waiter.lane

    def _check_open(self) -> None:
        if self._closed:
            raise Problem(Reason.DRAINING, "the server is about to stop")

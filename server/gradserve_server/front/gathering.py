"""Who of the requests of one program runs, and who waits for it: the turns of a program that is cheap to run.

The first to come runs at once. Who comes while it runs, waits; and when it is done, all who wait share the next run. So
nobody waits while there is nothing to wait for, and the busier the server is, the larger the groups become.
"""

from __future__ import annotations

import collections
import threading
from collections.abc import Hashable
from typing import Generic, TypeVar, final

Entry = TypeVar("Entry")
Outcome = TypeVar("Outcome")


@final
class Member(Generic[Entry, Outcome]):
    """A request that waits.

    Attributes:
        entry: the request.
        leads: whether it is its turn to run, and to take others along; else `outcome` is what came of it.
        outcome: what another's run gave it.
    """

    __slots__ = ("_woken", "entry", "leads", "outcome")

    def __init__(self, entry: Entry) -> None:
        self.entry = entry
        self.leads = False
        self.outcome: Outcome | None = None
        self._woken = threading.Lock()
        self._woken.acquire()

    def wait(self) -> None:
        """Waits until it leads, or has its outcome."""
        self._woken.acquire()

    def end(self, outcome: Outcome) -> None:
        """Gives it its outcome."""
        self.outcome = outcome
        self._woken.release()

    def lead(self) -> None:
        """Gives it the turn."""
        self.leads = True
        self._woken.release()


@final
class Gathering(Generic[Entry, Outcome]):
    """Thread-safe.

    Turns go round the callers, and within one caller to who came first: a caller with many requests under way does not
    keep one with few of them waiting.

    Attributes:
        capacity: how many requests may share a run. With 1 nobody waits.
        fastest_seconds: the shortest run of one request so far.
        met: how often a request found another one under way.
    """

    def __init__(self) -> None:
        self.capacity = 1
        self.fastest_seconds = float("inf")
        self.met = 0
        self._lock = threading.Lock()
        self._under_way = 0
        self._waiting: collections.OrderedDict[Hashable, collections.deque[Member[Entry, Outcome]]]
        self._waiting = collections.OrderedDict()

    def enter(self, entry: Entry, caller: Hashable) -> Member[Entry, Outcome] | None:
        """None if it is this request's turn, which ends with `leave`; else it waits."""
        with self._lock:
            if not self._under_way:
                self._under_way = 1
                return None
            self.met += 1
            if self.capacity == 1:
                self._under_way += 1
                return None
            member = Member[Entry, Outcome](entry)
            waiting = self._waiting.get(caller)
            if waiting is None:
                waiting = self._waiting[caller] = collections.deque()
            waiting.append(member)
            return member

    def take(self, most: int) -> list[Member[Entry, Outcome]]:
        """Up to that many of those who wait, to be given their outcomes by the caller, whose turn it is."""
        with self._lock:
            return [self._next() for _ in range(min(most, sum(map(len, self._waiting.values()))))]

    def leave(self, seconds: float = float("inf")) -> None:
        """Ends a turn; whoever is next gets it. `seconds` are those of a run of one request."""
        with self._lock:
            self.fastest_seconds = min(self.fastest_seconds, seconds)
            self._under_way -= 1
            if self._under_way or not self._waiting:
                return
            self._under_way = 1
            following = self._next()
        following.lead()

    def _next(self) -> Member[Entry, Outcome]:
        caller, waiting = next(iter(self._waiting.items()))
        member = waiting.popleft()
        if waiting:
            self._waiting.move_to_end(caller)
        else:
            del self._waiting[caller]
        return member

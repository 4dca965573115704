"""What is kept of compiled programs, and the memory of those that are not kept any more."""

from __future__ import annotations

import collections
import gc
import threading
from collections.abc import Callable
from typing import Generic, TypeVar, final

import jax

from gradserve_server.common.memory import give_back_freed_memory

Value = TypeVar("Value")

# Giving memory back takes about 0.2 s, a compilation as much or more: it is done once for so many.
_DROPPED_TOGETHER = 16


def give_back() -> None:
    """Gives the memory of dropped programs back to the kernel.

    JAX's caches hold parts of what it was traced to, and the allocator what is freed: dropping a program alone gives
    nothing back, and a worker grew by half a MiB with each.
    """
    jax.clear_caches()
    gc.collect()
    give_back_freed_memory()


@final
class Kept(Generic[Value]):
    """The most recently used of values by their keys. Thread-safe.

    Args:
        most: how many to keep.
        give_back: called after each few that were dropped.
    """

    def __init__(self, most: int, give_back: Callable[[], None] = give_back) -> None:
        self._most = most
        self._give_back = give_back
        self._lock = threading.Lock()
        self._values: collections.OrderedDict[bytes, Value] = collections.OrderedDict()
        self._dropped = 0

    def __len__(self) -> int:
        return len(self._values)

    def get(self, key: bytes) -> Value | None:
        """The value of `key`, if it is kept; the last to be dropped from now on."""
        with self._lock:
            value = self._values.get(key)
            if value is not None:
                self._values.move_to_end(key)
            return value

    def put(self, key: bytes, value: Value) -> None:
        """Keeps `value`, and drops what was not used for longest."""
        with self._lock:
            self._values[key] = value
            self._values.move_to_end(key)
            while len(self._values) > self._most:
                self._values.popitem(last=False)
                self._dropped += 1
            is_due = self._dropped >= _DROPPED_TOGETHER
            if is_due:
                self._dropped = 0
        if is_due:
            self._give_back()

"""The memory that front and worker share, and where in it the arrays of a run lie."""

from __future__ import annotations

import bisect
import dataclasses
import fcntl
import math
import mmap
import os
import sys
import tempfile
import threading
from collections.abc import Iterable
from typing import final

import numpy as np

from gradserve_server.common.errors import Problem, Reason
from gradserve_server.common.memory import ALIGNMENT, round_up
from gradserve_server.common.specs import ArraySpec, Program

_RETRY_SECONDS = 1.0

# Freed memory that was written to is given back to the kernel in pieces of this size. A piece takes
# the kernel about a millisecond, and the lock is held for no longer.
_PIECE = 16 << 20

# Blocks of one program come to lie at the same few places again and again.
_MOST_VIEWS = 32


@dataclasses.dataclass(frozen=True)
class Place:
    """Where an array lies, in bytes from the start of its block, and its form."""

    offset: int
    dtype: np.dtype[np.generic]
    shape: tuple[int, ...]

    @staticmethod
    def of(array: ArraySpec) -> Place:
        """The form of `array`, at the start of a block."""
        return Place(0, np.dtype(array.dtype), array.shape)

    def at(self, offset: int) -> Place:
        """The same form at another place."""
        return Place(offset, self.dtype, self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of the array."""
        return math.prod(self.shape) * self.dtype.itemsize

    def view(self, memory: mmap.mmap | np.ndarray, block: int) -> np.ndarray:
        """The array of this place in the block that starts at byte `block` of `memory`."""
        return np.ndarray(self.shape, self.dtype, memory, block + self.offset)


@final
@dataclasses.dataclass(frozen=True)
class Views:
    """The arrays of one block.

    Attributes:
        arguments: in the order of `Program.arguments`.
        results: in the order of `Program.results`; empty where the block has no room for them.
        flat: the bytes of each argument.
    """

    arguments: tuple[np.ndarray, ...]
    results: tuple[np.ndarray, ...]
    flat: tuple[memoryview, ...]

    @staticmethod
    def of(layout: Layout, memory: mmap.mmap | np.ndarray, block: int) -> Views:
        """The arrays of the block that starts at byte `block` of `memory`."""
        arguments = tuple(place.view(memory, block) for place in layout.arguments)
        end = memory.nbytes if isinstance(memory, np.ndarray) else len(memory)
        fits = block + layout.total_bytes <= end
        results = tuple(place.view(memory, block) for place in layout.results) if fits else ()
        return Views(arguments, results, tuple(one.reshape(-1).view(np.uint8).data for one in arguments))


@final
@dataclasses.dataclass(frozen=True)
class Layout:
    """Places of a run's arrays in its block: a pure function of the program, so both sides know it.

    Attributes:
        arguments: in the order of `Program.arguments`.
        results: in the order of `Program.results`, behind the arguments.
        argument_bytes: length of a block without room for results.
        total_bytes: length of a block.
    """

    arguments: tuple[Place, ...]
    results: tuple[Place, ...]
    argument_bytes: int
    total_bytes: int
    _views: dict[int, Views] = dataclasses.field(default_factory=dict, init=False, repr=False, compare=False)

    def without(self, placed: Iterable[int]) -> Layout:
        """The layout of a run whose arguments of these indices lie elsewhere: here they are empty."""
        elsewhere = frozenset(placed)
        forms = [Place(0, one.dtype, (0,)) if index in elsewhere else one for index, one in enumerate(self.arguments)]
        arguments, argument_bytes = _places(forms, 0)
        results, total = _places(self.results, argument_bytes)
        return Layout(arguments, results, argument_bytes, total)

    def views(self, memory: mmap.mmap, block: int) -> Views:
        """The arrays of the block that starts at byte `block` of `memory`, which is the same one at each call."""
        views = self._views.get(block)
        if views is None:
            if len(self._views) >= _MOST_VIEWS:
                self._views.clear()
            views = self._views[block] = Views.of(self, memory, block)
        return views

    @staticmethod
    def of(program: Program) -> Layout:
        """The layout of a run of `program`."""
        arguments, argument_bytes = _places(map(Place.of, program.arguments), 0)
        results, total = _places((Place.of(one.array) for one in program.results), argument_bytes)
        return Layout(arguments, results, argument_bytes, total)


def _places(forms: Iterable[Place], start: int) -> tuple[tuple[Place, ...], int]:
    """Places of these forms, one after the other from `start` on, and the end."""
    places = []
    for form in forms:
        places.append(form.at(start))
        start = round_up(start + form.nbytes)
    return tuple(places), start


@final
class Layouts:
    """Layouts by the key of their program. Thread-safe, as each step is one operation on a dict."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: dict[bytes, Layout] = {}

    def of(self, program: Program) -> Layout:
        """The layout of `program`, which is kept."""
        layout = self._known.get(program.key)
        if layout is None:
            if len(self._known) >= self._most:
                self._known.clear()
            layout = self._known[program.key] = Layout.of(program)
        return layout

    def get(self, key: bytes) -> Layout | None:
        """The layout of the program `key`, if it is kept."""
        return self._known.get(key)

    def clear(self) -> None:
        """Lets go of all of them, and of the memory that their views hold."""
        self._known.clear()


@final
class Arena:
    """Shared memory in which blocks are allocated. Thread-safe.

    The lowest hole that is large enough is taken, so that the same pages are used again and again.
    Pages of holes stay with the process up to `keep_bytes`; beyond that they go back to the kernel.

    Args:
        nbytes: length; memory is taken only as it is written to.
        keep_bytes: how much memory of holes to keep.
    """

    def __init__(self, nbytes: int, keep_bytes: int = 256 << 20) -> None:
        self.nbytes = -(-nbytes // mmap.PAGESIZE) * mmap.PAGESIZE
        self.descriptor = _shared_file(self.nbytes)
        self._memory: mmap.mmap | None = mmap.mmap(self.descriptor, self.nbytes)
        self._address = np.frombuffer(self._memory, np.uint8, 1).ctypes.data
        self._keep_bytes = keep_bytes
        self._lock = threading.Lock()
        self._holes = [(0, self.nbytes)]  # (offset, length), in order, never two side by side
        self._lengths: dict[int, int] = {}  # of blocks, by offset
        self._touched = bytearray(-(-self.nbytes // _PIECE))  # 1 for a piece with pages of its own

    @property
    def memory(self) -> mmap.mmap:
        """All of it, as long as there is a reference to it.

        Raises:
            Problem: DRAINING after `close`.
        """
        memory = self._memory
        if memory is None:
            raise Problem(Reason.DRAINING, "the server is about to stop")
        return memory

    def offset_of(self, array: np.ndarray) -> int | None:
        """Where in this memory `array` begins; None if it does not lie in it, or not in one aligned piece."""
        offset: int = array.ctypes.data - self._address
        inside = offset >= 0 and offset + array.nbytes <= self.nbytes
        return offset if inside and not offset % ALIGNMENT and array.flags.c_contiguous else None

    @property
    def used_bytes(self) -> int:
        """Bytes of all blocks."""
        with self._lock:
            return sum(self._lengths.values())

    @property
    def holes(self) -> list[tuple[int, int]]:
        """Offset and length of each hole, in order."""
        with self._lock:
            return list(self._holes)

    def allocate(self, nbytes: int) -> int:
        """Offset of a fresh block of at least `nbytes`.

        Raises:
            Problem: OVERLOADED if other blocks are in the way, MEMORY_LIMIT if it never fits.
        """
        length = round_up(max(nbytes, 1))
        with self._lock:
            for index, (offset, room) in enumerate(self._holes):
                if room >= length:
                    if room == length:
                        del self._holes[index]
                    else:
                        self._holes[index] = (offset + length, room - length)
                    self._lengths[offset] = length
                    first, last = offset // _PIECE, (offset + length - 1) // _PIECE
                    self._touched[first : last + 1] = b"\x01" * (last + 1 - first)
                    return offset
        metadata = {"needed_bytes": str(length), "limit_bytes": str(self.nbytes)}
        if length > self.nbytes:
            raise Problem(
                Reason.MEMORY_LIMIT,
                "the arrays of the request need more memory than there is for them",
                given=f"{length} bytes",
                expected=f"at most {self.nbytes} bytes",
                metadata=metadata,
            )
        raise Problem(
            Reason.OVERLOADED,
            "the memory for arrays is in use by other requests",
            given=f"{length} bytes",
            retry_seconds=_RETRY_SECONDS,
            metadata=metadata,
        )

    def free(self, offset: int) -> None:
        """Gives the block at `offset` back."""
        with self._lock:
            self._free(offset)
        while self._release():
            pass

    def close(self) -> None:
        """Lets go of the memory, which goes with the last array in it; blocks may still be freed."""
        with self._lock:
            # Not closed by hand: NumPy's arrays refer to the mapping but do not keep it open.
            if self._memory is not None:
                self._memory = None
                os.close(self.descriptor)

    def _free(self, offset: int) -> None:
        length = self._lengths.pop(offset)
        index = bisect.bisect(self._holes, (offset, 0))
        start, end = offset, offset + length
        if index < len(self._holes) and self._holes[index][0] == end:
            end += self._holes.pop(index)[1]
        if index and sum(self._holes[index - 1]) == start:
            index -= 1
            start = self._holes.pop(index)[0]
        self._holes.insert(index, (start, end - start))

    def _release(self) -> bool:
        """Gives one piece of a hole back to the kernel; False if there is nothing to give."""
        if sys.platform != "linux":
            return False
        with self._lock:
            # Counting is quick: one byte stands for a whole piece.
            idle = self._touched.count(1) * _PIECE - sum(self._lengths.values())
            if self._memory is None or idle <= self._keep_bytes:
                return False
            # From the end, as the lowest pages are the next to be used.
            for offset, length in reversed(self._holes):
                first, end = -(-offset // _PIECE), (offset + length) // _PIECE
                piece = self._touched.rfind(1, first, end) if first < end else -1
                if piece >= 0:
                    self._memory.madvise(mmap.MADV_REMOVE, piece * _PIECE, _PIECE)
                    self._touched[piece] = 0
                    return True
            return False


def _shared_file(nbytes: int) -> int:
    """A file without a name, of `nbytes` that take no memory until they are written to."""
    if sys.platform == "linux":
        flags = os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING
        descriptor = os.memfd_create("gradserve", flags)
        os.ftruncate(descriptor, nbytes)
        # A worker gone wrong must not be able to cut the memory from under the front.
        seals = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, seals)
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
        os.ftruncate(descriptor, nbytes)
    return descriptor

"""Memory of this process: aligned buffers, and keeping what was freed."""

from __future__ import annotations

import ctypes
import functools
import mmap
import platform
import sys
from typing import Any

import numpy as np

# XLA takes arrays that begin at a multiple of this as they are, and copies any other.
ALIGNMENT = 64

# From glibc's malloc.h.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -2, -3, -8
# Older versions of glibc take no larger MMAP_THRESHOLD.
_MMAP_THRESHOLD_OF_OLD = 32 << 20


def aligned(nbytes: int) -> np.ndarray:
    """Bytes, not set to anything, that begin at a multiple of `ALIGNMENT`: uint8 [nbytes]."""
    buffer = np.empty(nbytes + ALIGNMENT, np.uint8)
    start = -buffer.ctypes.data % ALIGNMENT
    return buffer[start : start + nbytes]


def round_up(nbytes: int) -> int:
    """The least multiple of `ALIGNMENT` that is not below `nbytes`."""
    return -(-nbytes // ALIGNMENT) * ALIGNMENT


# Results with more bytes than this are moved to their block, as they are too large to have twice, though that makes the
# next run wait for fresh pages.
MOST_TWICE_BYTES = 1 << 30

# Of what is moved, so much is in memory twice.
_PIECE_BYTES = 64 << 20
_DONT_NEED = 4  # of madvise, on Linux


def move(array: np.ndarray, room: np.ndarray) -> None:
    """Copies `array` to `room` and gives its memory back to the kernel as it goes: afterwards its elements are gone.

    For arrays too large to have twice. The array must be contiguous, and the only one in its memory.
    """
    source, target = array.reshape(-1).view(np.uint8), room.reshape(-1).view(np.uint8)
    for start in range(0, source.nbytes, _PIECE_BYTES):
        piece = source[start : start + _PIECE_BYTES]
        np.copyto(target[start : start + _PIECE_BYTES], piece)
        if sys.platform == "linux":
            first = -(-piece.ctypes.data // mmap.PAGESIZE) * mmap.PAGESIZE
            end = (piece.ctypes.data + piece.nbytes) // mmap.PAGESIZE * mmap.PAGESIZE
            if end > first:
                _madvise()(first, end - first, _DONT_NEED)


@functools.cache
def _madvise() -> Any:
    function = ctypes.CDLL(None).madvise
    function.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    return function


def keep_freed_memory() -> bool:
    """Makes glibc keep what is freed; gives whether it could, and does nothing elsewhere.

    By default large blocks go back to the kernel at each free, and the page faults of the next
    request then take longer than the request. All threads share one heap, since those of further
    threads hold no block above 64 MiB: a run with 100 MB of weights took half the time.

    Call it before there are threads.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    kept = mallopt(_ARENA_MAX, 1) and mallopt(_TRIM_THRESHOLD, 1 << 30) and mallopt(_TOP_PAD, 64 << 20)
    return bool(kept and (mallopt(_MMAP_THRESHOLD, 1 << 30) or mallopt(_MMAP_THRESHOLD, _MMAP_THRESHOLD_OF_OLD)))


def give_back_freed_memory() -> None:
    """Makes glibc give what it keeps of freed memory back to the kernel; does nothing elsewhere."""
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)

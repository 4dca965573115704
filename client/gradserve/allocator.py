"""Keeping freed memory, for programs that send or receive large tensors again and again."""

from __future__ import annotations

import ctypes
import platform

# From glibc's malloc.h.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3
_LARGEST_MMAP_THRESHOLD = 32 << 20


def keep_freed_memory(most_bytes: int = 1 << 30) -> bool:
    """Makes this process keep memory that it has freed, rather than give it back to the kernel at once.

    Messages of megabytes are allocated anew for each call. By default glibc returns such blocks at
    each free, and the page faults of the next call can take longer than the call. This setting is
    the whole process's, which is why the client does not make it by itself.

    Args:
        most_bytes: bytes of freed memory at the end of the heap above which some goes back.

    Returns:
        Whether it could be set; False where the C library is not glibc.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    kept = mallopt(_TRIM_THRESHOLD, min(most_bytes, (1 << 31) - 1)) and mallopt(_TOP_PAD, 64 << 20)
    return bool(kept and mallopt(_MMAP_THRESHOLD, _LARGEST_MMAP_THRESHOLD))

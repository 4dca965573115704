"""Folders under watch: whether anyone opens, reads or writes what is in them."""

from __future__ import annotations

import ctypes
import os
import struct
from pathlib import Path
from typing import Self, final

_HEADER = struct.Struct("iIII")
# From Linux's inotify.h: read, written, opened, created, deleted.
_EVENTS = 0x1 | 0x2 | 0x20 | 0x100 | 0x200


@final
class Watch:
    """What happens in `folders` while it lasts. Linux only."""

    def __init__(self, *folders: Path) -> None:
        library = ctypes.CDLL(None, use_errno=True)
        self._descriptor = library.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        self._folders = {
            library.inotify_add_watch(self._descriptor, os.fsencode(folder), _EVENTS): folder for folder in folders
        }
        if self._descriptor < 0 or -1 in self._folders:
            raise OSError(ctypes.get_errno(), "inotify cannot be set up")

    def seen(self) -> list[str]:
        """Paths of what was touched since the last call."""
        try:
            content = os.read(self._descriptor, 1 << 20)
        except BlockingIOError:
            return []
        paths, place = [], 0
        while place < len(content):
            folder, _, _, length = _HEADER.unpack_from(content, place)
            name = content[place + _HEADER.size :][:length].rstrip(b"\0")
            paths.append(str(self._folders[folder] / os.fsdecode(name)))
            place += _HEADER.size + length
        return paths

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        os.close(self._descriptor)

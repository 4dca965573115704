"""The one canonical safetensors file of named tensors, by whose digest they are known."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

import numpy as np

from gradserve_server.front.tensors import SAFETENSORS_NAMES, Array


def header(arrays: Mapping[str, Array]) -> bytes:
    """Everything of the file that precedes the data.

    Entries are in order of name (by code points), their data in the same order without gaps. There are no metadata,
    the JSON has no spaces and escapes no more than it must, and spaces pad the header to a multiple of 8 bytes.
    """
    entries = {}
    place = 0
    for name in sorted(arrays):
        array = arrays[name]
        end = place + array.nbytes
        entries[name] = {
            "dtype": SAFETENSORS_NAMES[array.dtype],
            "shape": list(array.shape),
            "data_offsets": [place, end],
        }
        place = end
    text = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def digest(start: bytes, arrays: Mapping[str, Array]) -> tuple[str, int]:
    """SHA-256 in hexadecimal, and size in bytes, of the file that begins with `start`, made by `header`."""
    content = hashlib.sha256(start)
    size = len(start)
    for name in sorted(arrays):
        data = np.ascontiguousarray(arrays[name]).reshape(-1).view(np.uint8).data
        content.update(data)
        size += data.nbytes
    return content.hexdigest(), size

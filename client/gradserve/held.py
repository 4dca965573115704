"""What a server holds: weights and networks that later calls name by SHA-256 instead of sending them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import final

import numpy as np

from gradserve.casting import weight_arrays
from gradserve.errors import InvalidRequest
from gradserve.network import Network
from gradserve.results import parse
from gradserve.tensors import Array, ArrayLike, to_dtype
from gradserve.v1 import artifact_service_pb2, tensor_pb2
from gradserve.weights import FILE_DTYPES

PIECE_BYTES = 1 << 20

SMALLEST_NETWORK = 4096
"""Bytes below which a network is sent, not named: a digest would save nothing."""

_FILE_NAMES = {to_dtype(dtype): name for name, dtype in FILE_DTYPES.items()}


@final
class HeldWeights:
    """Weights that a server was given, by `Client.put` or `Client.put_fresh`: goes wherever weights do.

    A server forgets what it has no room for, and another replica never saw it. Calls then send the weights along once
    more, by themselves; those of `put_fresh`, which the client does not have, end as `MissingContent`.

    Attributes:
        digest: SHA-256, in hexadecimal, of the weights as a safetensors file.
        size_bytes: size of that file.
    """

    def __init__(self, digest: str, size_bytes: int, content: bytes | Mapping[str, Array] | None, start: bytes) -> None:
        self.digest = digest
        self.size_bytes = size_bytes
        self._content = content
        self._start = start

    @property
    def content(self) -> bytes | Mapping[str, Array] | None:
        """The weights: arrays by name, or the bytes of a file; None if only the server has them."""
        return self._content

    @property
    def start(self) -> bytes:
        """The header of the file, which tells names, types and shapes; empty if only the server has it."""
        return self._start

    @property
    def is_double(self) -> bool:
        """Whether some are float64, as far as the client knows."""
        return is_double(self._start)

    @property
    def address(self) -> tensor_pb2.Digest:
        """As the contract has it."""
        return tensor_pb2.Digest(hash=self.digest, size_bytes=self.size_bytes)

    def pieces(self, offset: int) -> Iterator[bytes]:
        """The file from a byte on, in pieces of at most 1 MiB."""
        for part in _parts(self._content or b"", self._start):
            if offset >= len(part):
                offset -= len(part)
                continue
            for place in range(offset, len(part), PIECE_BYTES):
                yield bytes(part[place : place + PIECE_BYTES])
            offset = 0

    def __repr__(self) -> str:
        return f"HeldWeights({self.digest[:12]}…, {self.size_bytes:,} bytes)"


def hold(weights: Mapping[str, ArrayLike] | bytes) -> HeldWeights:
    """Weights with their address, before any server holds them.

    Raises:
        InvalidRequest: they are no weights.
    """
    if isinstance(weights, (bytes, bytearray, memoryview)):
        content = bytes(weights)
        start = content[: 8 + int.from_bytes(content[:8], "little")]
        return HeldWeights(hashlib.sha256(content).hexdigest(), len(content), content, start)
    if not isinstance(weights, Mapping):
        raise InvalidRequest.because(
            "nothing that a server can hold",
            field="weights",
            given=type(weights).__name__,
            expected="arrays by name, or the bytes of a safetensors file",
        )
    arrays, _ = weight_arrays(weights)
    start = canonical_header(arrays)
    content_hash = hashlib.sha256()
    size = 0
    for part in _parts(arrays, start):
        content_hash.update(part)
        size += len(part)
    return HeldWeights(content_hash.hexdigest(), size, arrays, start)


def is_double(start: bytes) -> bool:
    """Whether the header of a safetensors file tells of float64."""
    return b'"F64"' in start


def upload_requests(held: HeldWeights, offset: int | None) -> Iterator[bytes]:
    """The messages of an Upload from a byte on; None asks how many bytes the server has."""
    yield artifact_service_pb2.UploadRequest(digest=held.address).SerializeToString()
    if offset is None:
        return
    for piece in held.pieces(offset):
        yield artifact_service_pb2.UploadRequest(offset=offset, data=piece).SerializeToString()
        offset += len(piece)


def committed_bytes(answer: bytes) -> int:
    """How many bytes the server has, by its answer to an Upload."""
    return parse(artifact_service_pb2.UploadResponse, answer).committed_bytes


def canonical_header(arrays: Mapping[str, Array]) -> bytes:
    """What precedes the data in the one safetensors file that these arrays are known by.

    Entries are in order of name (by code points), their data in the same order without gaps; no metadata; JSON without
    spaces that escapes no more than it must; padded with spaces to a multiple of 8 bytes.
    """
    entries = {}
    place = 0
    for name in sorted(arrays):
        array = arrays[name]
        entries[name] = {
            "dtype": _FILE_NAMES[array.dtype],
            "shape": list(array.shape),
            "data_offsets": [place, place + array.nbytes],
        }
        place += array.nbytes
    text = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


@lru_cache(maxsize=64)
def address_of(network: Network) -> tensor_pb2.Digest:
    """The address of a network: that of the bytes that are sent."""
    content = network.to_bytes()
    return tensor_pb2.Digest(hash=hashlib.sha256(content).hexdigest(), size_bytes=len(content))


def _parts(content: bytes | Mapping[str, Array], start: bytes) -> Iterator[memoryview]:
    """The file, in the pieces that it lies in."""
    if isinstance(content, bytes):
        yield memoryview(content)
        return
    yield memoryview(start)
    for name in sorted(content):
        yield np.ascontiguousarray(content[name]).reshape(-1).view(np.uint8).data

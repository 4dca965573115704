"""What callers sent before, held under its SHA-256 for as long as memory allows. Nobody sees what another one sent."""

from __future__ import annotations

import collections
import dataclasses
import hashlib
import re
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import final

import numpy as np

from gradserve.v1 import tensor_pb2
from gradserve_server.common.budget import Budget, Purpose, Reservation
from gradserve_server.common.errors import Problem, Reason
from gradserve_server.common.memory import round_up
from gradserve_server.front.artifacts import canonical
from gradserve_server.front.tensors import Array, read_safetensors
from gradserve_server.worker.interface import Region

MOST_DIGESTS = 1_000
_HASH = re.compile(r"[0-9a-f]{64}", re.ASCII)
# How long an upload that broke off is kept to be gone on with.
_PATIENCE_SECONDS = 600.0

MakeRegion = Callable[[int], Region]


@dataclasses.dataclass(frozen=True, order=True)
class Digest:
    """A content address: SHA-256 in lower-case hexadecimal digits, and the size in bytes."""

    hash: str
    size: int

    @staticmethod
    def of(content: bytes | memoryview) -> Digest:
        """The address of `content`."""
        return Digest(hashlib.sha256(content).hexdigest(), len(content))

    def check(self, field: str) -> None:
        """Raises a `Problem` where it cannot be a digest."""
        if not _HASH.fullmatch(self.hash) or self.size < 0:
            raise Problem(
                Reason.INVALID_VALUE,
                "not a digest",
                field=field,
                given=f"{self.hash[:80]!r}, {self.size} bytes",
                expected="64 lower-case hexadecimal digits, and a size of at least 0",
            )

    def __str__(self) -> str:
        return f"{self.hash}/{self.size}"


@final
class Artifact:
    """Bytes with an address; they go with the last reference to it.

    It lies in one of three ways: as it was sent, in a region or as bytes; or, once it was used as weights, as a header
    and arrays in a region that the worker sees.

    Attributes:
        digest: its address.
    """

    def __init__(
        self, digest: Digest, reservation: Reservation, make_region: MakeRegion, content: Region | bytes | None = None
    ) -> None:
        self.digest = digest
        self._reservation = reservation
        self._make_region = make_region
        self._lock = threading.Lock()
        self._region = content if not isinstance(content, bytes) else None
        self._bytes = content if isinstance(content, bytes) else None
        self._start = b""
        self._arrays: dict[str, Array] | None = None

    def fill(self, start: bytes, arrays: Mapping[str, Array]) -> None:
        """Copies weights, of which `start` is the header of the file, into memory that the worker sees."""
        region = self._make_region(room_for(arrays.values()))
        placed = _lay_out(arrays, region.memory)
        before, self._region, self._bytes = self._region, region, None
        self._start, self._arrays = start, placed
        if before is not None:
            before.close()

    def content(self) -> bytes:
        """All of its bytes, of which there is one copy if they are asked for as often as not."""
        with self._lock:
            if self._arrays is not None:
                return b"".join([self._start, *(one.tobytes() for one in self._arrays.values())])
            if self._bytes is None:
                assert self._region is not None
                self._bytes = bytes(self._region.memory[: self.digest.size])
                self._region.close()
                self._region = None
            return self._bytes

    def weights(self, field: str) -> dict[str, Array]:
        """It, read as a safetensors file: arrays by name, aligned so that runs take them from where they lie.

        Raises:
            Problem: it is no such file.
        """
        with self._lock:
            if self._arrays is None:
                held = self._bytes if self._region is None else self._region.memory[: self.digest.size]
                memory = memoryview(held or b"")
                arrays = read_safetensors(memory, field)
                # In the order of their data, of which the file is made again.
                places = {name: array.ctypes.data for name, array in arrays.items()}
                start = bytes(memory[: 8 + int.from_bytes(memory[:8], "little")])
                self.fill(start, {name: arrays[name] for name in sorted(arrays, key=lambda name: places[name])})
            assert self._arrays is not None
            return self._arrays

    def __del__(self) -> None:
        self._arrays = None
        if self._region is not None:
            self._region.close()
        self._reservation.close()


def room_for(arrays: Iterable[Array]) -> int:
    """Bytes that these arrays take, each aligned."""
    return sum(round_up(one.nbytes) for one in arrays)


def _lay_out(arrays: Mapping[str, Array], memory: memoryview) -> dict[str, Array]:
    """Aligned copies of `arrays` in `memory`, in their order."""
    placed: dict[str, Array] = {}
    place = 0
    for name, array in arrays.items():
        room: Array = np.ndarray(array.shape, array.dtype, memory, place)
        np.copyto(room, array)
        placed[name] = room
        place += round_up(array.nbytes)
    return placed


@final
class _Upload:
    """An artifact on its way, which any number of calls may bring."""

    def __init__(self, digest: Digest, region: Region, reservation: Reservation) -> None:
        self.digest = digest
        self.received = 0
        self.touched = time.monotonic()
        self.lock = threading.Lock()
        self._hash = hashlib.sha256()
        self._region = region
        self._reservation = reservation

    def take(self, offset: int, data: bytes) -> None:
        """Some of its bytes; those that are here already are passed over."""
        with self.lock:
            self.touched = time.monotonic()
            end = offset + len(data)
            if not 0 <= offset <= self.received:
                raise Problem(
                    Reason.INVALID_VALUE,
                    "pieces follow each other",
                    field="offset",
                    given=str(offset),
                    expected=f"at most {self.received}",
                )
            if end > self.digest.size:
                raise Problem(
                    Reason.INVALID_VALUE,
                    "more bytes than the digest says",
                    field="data",
                    given=f"{end} bytes",
                    expected=f"{self.digest.size} bytes",
                )
            fresh = memoryview(data)[self.received - offset :]
            if fresh:
                self._region.memory[self.received : end] = fresh
                self._hash.update(fresh)
                self.received = end

    def finish(self, make_region: MakeRegion) -> Artifact:
        """The artifact, once all of it is here."""
        found = self._hash.hexdigest()
        if found != self.digest.hash:
            self.drop()
            raise Problem(
                Reason.INVALID_VALUE,
                "the bytes do not have the digest",
                field="digest.hash",
                given=self.digest.hash,
                expected=found,
            )
        return Artifact(self.digest, self._reservation, make_region, self._region)

    def drop(self) -> None:
        """Gives the memory back."""
        self._region.close()
        self._reservation.close()


@final
class Store:
    """Thread-safe. What was used longest ago goes first, once there are more than `most_bytes`.

    Args:
        budget: bytes are reserved from it.
        region: makes memory that the worker sees.
        most_bytes: of all artifacts, those under way included.
    """

    def __init__(self, budget: Budget, region: MakeRegion, most_bytes: int) -> None:
        self._budget = budget
        self._region = region
        self._most_bytes = most_bytes
        self._lock = threading.Lock()
        self._held: collections.OrderedDict[tuple[str, Digest], Artifact] = collections.OrderedDict()
        self._uploads: dict[tuple[str, Digest], _Upload] = {}
        self._bytes = 0
        # Requests go before what is held in case it is asked for.
        budget.make_way = self._let_go

    def find(self, identity: str, digest: Digest) -> Artifact | None:
        """What this caller sent under `digest`; it counts as just used."""
        with self._lock:
            artifact = self._held.get((identity, digest))
            if artifact is not None:
                self._held.move_to_end((identity, digest))
            return artifact

    def get(self, identity: str, message: tensor_pb2.Digest, field: str) -> Artifact:
        """What this caller sent under the digest in `message`; it counts as just used.

        Raises:
            Problem: it is not held.
        """
        digest = Digest(message.hash, message.size_bytes)
        digest.check(field)
        artifact = self.find(identity, digest)
        if artifact is None:
            raise Problem(
                Reason.MISSING_CONTENT,
                "the server does not hold what the digest names",
                field=field,
                given=str(digest),
                hint="Upload it with ArtifactService, then ask again.",
                metadata={"missing": str(digest)},
            )
        return artifact

    def keep(self, identity: str, content: bytes, digest: Digest | None = None) -> Digest:
        """Holds `content`, which has this digest.

        Raises:
            Problem: there is no room.
        """
        digest = digest or Digest.of(content)
        if self.find(identity, digest) is None:
            self._add(identity, Artifact(digest, self._reserve(digest.size, digest.size), self._region, content))
        return digest

    def keep_arrays(self, identity: str, arrays: Mapping[str, Array]) -> Digest:
        """Holds weights under the digest of their canonical file.

        Raises:
            Problem: there is no room.
        """
        start = canonical.header(arrays)
        digest = Digest(*canonical.digest(start, arrays))
        if self.find(identity, digest) is None:
            artifact = Artifact(digest, self._reserve(digest.size, room_for(arrays.values())), self._region)
            artifact.fill(start, {name: arrays[name] for name in sorted(arrays)})
            self._add(identity, artifact)
        return digest

    def forget(self, identity: str, digest: Digest) -> None:
        """Lets go of it; requests under way that use it end well."""
        with self._lock:
            if self._held.pop((identity, digest), None) is not None:
                self._bytes -= digest.size

    def upload(self, identity: str, digest: Digest) -> _Upload | None:
        """The upload of `digest`, begun before or now; None where it is held already."""
        digest.check("digest")
        if self.find(identity, digest) is not None:
            return None
        self._drop_stale()
        key = (identity, digest)
        with self._lock:
            upload = self._uploads.get(key)
        if upload is not None:
            return upload
        reservation = self._reserve(digest.size, digest.size)
        try:
            upload = _Upload(digest, self._region(digest.size), reservation)
        except BaseException:
            reservation.close()
            raise
        with self._lock:
            first = self._uploads.setdefault(key, upload)
        if first is not upload:
            upload.drop()
        return first

    def finish(self, identity: str, upload: _Upload) -> None:
        """Takes in an upload of which all is here; of several calls that brought it, one does.

        Raises:
            Problem: its bytes do not have the digest.
        """
        with self._lock:
            mine = self._uploads.pop((identity, upload.digest), None) is upload
        if mine:
            self._add(identity, upload.finish(self._region))

    def _reserve(self, size: int, nbytes: int) -> Reservation:
        """Room for an artifact; what was used longest ago makes way."""
        if size > self._most_bytes:
            raise Problem(
                Reason.TOO_LARGE,
                "it does not fit the store",
                field="digest.size_bytes",
                given=f"{size} bytes",
                expected=f"at most {self._most_bytes} bytes",
                metadata={"needed_bytes": str(size), "limit_bytes": str(self._most_bytes)},
            )
        self._let_go(size + self._bytes - self._most_bytes)
        return self._budget.reserve((Purpose.STORE, nbytes))

    def _let_go(self, nbytes: int) -> None:
        """Lets go of so many bytes, what was used longest ago first."""
        gone = []
        with self._lock:
            while self._held and nbytes > 0:
                (_, digest), artifact = self._held.popitem(last=False)
                self._bytes -= digest.size
                nbytes -= digest.size
                # Its memory is given back outside the lock.
                gone.append(artifact)

    def _add(self, identity: str, artifact: Artifact) -> None:
        with self._lock:
            if self._held.setdefault((identity, artifact.digest), artifact) is artifact:
                self._bytes += artifact.digest.size

    def _drop_stale(self) -> None:
        oldest = time.monotonic() - _PATIENCE_SECONDS
        with self._lock:
            stale = [key for key, one in self._uploads.items() if one.touched < oldest]
            dropped = [self._uploads.pop(key) for key in stale]
        for one in dropped:
            one.drop()

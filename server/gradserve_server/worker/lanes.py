"""Lanes between front and worker process: each a stream socket with one request or its reply on it.

A frame is the length of its body (8 bytes, little-endian), its kind (1 byte) and the body in
MessagePack. Whoever sends a request waits for its reply, so that no thread is in between and a
small frame is one system call at each end. The first frame of a worker is on its control socket and
says that it has started.
"""

from __future__ import annotations

import enum
import socket
import struct
from typing import final

import msgspec

from gradserve_server.common.specs import Limits

_HEADER = struct.Struct("<QB")
_TIME = struct.Struct("@ll")
_SMALL = 64 << 10
_ENCODER = msgspec.msgpack.Encoder()


class Kind(enum.IntEnum):
    """What a frame holds."""

    PREPARE = 1  # ProgramSpec; reply Program
    RUN = 2  # RunRequest; reply RunReply
    DESCRIBE = 3  # DescribeSpec; reply Description
    INITIALIZE = 4  # InitializeRequest; reply bytes
    DONE = 16  # the reply
    PROBLEM = 17  # ProblemData
    MISSING = 18  # None: the program is not held
    STARTED = 19  # Platform
    VALUES_NEEDED = 20  # tuple of names: the program depends on the values of these inputs


class RunRequest(msgspec.Struct, frozen=True, array_like=True):
    """Runs the program `key` on the block that starts at byte `block` of the shared memory.

    Attributes:
        key: of the program.
        block: where the block starts.
        weights_seed: see `Seeds`.
        random_seed: see `Seeds`.
        placed: where in the shared memory arguments lie that are not in the block, by index.
    """

    key: bytes
    block: int
    weights_seed: int
    random_seed: int
    placed: dict[int, int] = {}


class RunReply(msgspec.Struct, frozen=True, array_like=True):
    """The results lie in the block."""

    execute_seconds: float


class InitializeRequest(msgspec.Struct, frozen=True, array_like=True):
    """Asks for fresh weights of the network of `format`."""

    format: str
    content: bytes
    seed: int


class ChildSettings(msgspec.Struct, frozen=True):
    """The one argument of a worker process, as JSON; descriptors are inherited."""

    arena_descriptor: int
    arena_bytes: int
    control_descriptor: int
    lane_descriptors: tuple[int, ...]
    limits: Limits
    log_level: str


class LaneClosed(Exception):
    """The other end is gone, or what came from it is no frame."""


class LaneOverdue(Exception):
    """The other end takes longer than it may."""


def encode(message: object) -> bytes:
    """The body of a frame."""
    return _ENCODER.encode(message)


@final
class Lane:
    """One end of a lane; for one thread at a time.

    Args:
        connection: a connected stream socket, which the lane closes.
        generation: which worker process it leads to.
        most_bytes: longest body that is taken.
        patience_seconds: how long `receive` may wait; for ever if None.
    """

    def __init__(
        self,
        connection: socket.socket,
        *,
        generation: int = 0,
        most_bytes: int = 1 << 40,
        patience_seconds: float | None = None,
    ) -> None:
        self.generation = generation
        self._connection = connection
        self._most_bytes = most_bytes
        if patience_seconds is not None:
            # The kernel's own timeout costs a call nothing; Python's would be one more system call.
            seconds, fraction = divmod(patience_seconds, 1)
            value = _TIME.pack(int(seconds), max(1, int(fraction * 1e6)))
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, value)
        self._buffer = bytearray(_SMALL)
        self._view = memoryview(self._buffer)

    def send(self, kind: Kind, body: bytes) -> None:
        """Sends one frame."""
        header = _HEADER.pack(len(body), kind)
        try:
            if len(body) <= _SMALL:
                self._connection.sendall(header + body)
            else:
                self._connection.sendall(header)
                self._connection.sendall(body)
        except OSError as error:
            raise LaneClosed(str(error)) from error

    def receive(self) -> tuple[Kind, memoryview]:
        """Waits for one frame; its body is valid until the next call.

        Raises:
            LaneClosed: there is no other end any more.
            LaneOverdue: it did not come in time.
        """
        view, received = self._view, 0
        while received < _HEADER.size:
            received += self._read(view[received:])
        length, number = _HEADER.unpack_from(view)
        end = _HEADER.size + length
        if length > self._most_bytes or (received > end):
            raise LaneClosed(f"a frame of {length} bytes where there should be none such")
        if end > len(view):
            whole = memoryview(bytearray(end))
            whole[:received] = view[:received]
            view = whole
        while received < end:
            received += self._read(view[received:end])
        try:
            return Kind(number), view[_HEADER.size : end]
        except ValueError as error:
            raise LaneClosed(str(error)) from error

    def close(self) -> None:
        """Closes this end; may be called again."""
        self._connection.close()

    def _read(self, view: memoryview) -> int:
        try:
            count = self._connection.recv_into(view)
        except BlockingIOError:
            raise LaneOverdue from None
        except OSError as error:
            raise LaneClosed(str(error)) from error
        if count == 0:
            raise LaneClosed("the other end is closed")
        return count

"""The seam between front and worker: everything that the front asks of whatever computes.

Two implementations: in this process (`worker.in_process`) and in a supervised one (`worker.supervisor`). Nothing above
this interface knows which it has.
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Sequence
from typing import Self, TypeAlias

import numpy as np

from gradserve_server.common.specs import (
    DescribeSpec,
    Description,
    NetworkSource,
    Platform,
    Program,
    ProgramSpec,
)

# An array, or the bytes of one, row-major.
Content: TypeAlias = np.ndarray | memoryview

# Copying more than this lets other threads run meanwhile.
_LARGE_BYTES = 1 << 16


class ProgramMissing(Exception):
    """The worker does not hold the program (any more): prepare it again, then run again."""


class WorkerDied(Exception):
    """The worker died with this call in it. Computing is pure: the call can be made again."""


@dataclasses.dataclass(frozen=True)
class Seeds:
    """What is random in a run.

    Attributes:
        weights: draws the weights, where the program takes none.
        random: draws dropout masks and the like.
    """

    weights: int = 0
    random: int = 0


@dataclasses.dataclass(frozen=True)
class Run:
    """What a run gave: arrays in the order of `Program.results`, valid until their block is closed."""

    results: tuple[np.ndarray, ...]
    execute_seconds: float


class Block(abc.ABC):
    """Memory for one run: room for its arguments, 64-byte aligned, and wherever the worker needs it for its results.

    Attributes:
        arguments: writable arrays in the order of `Program.arguments`; the caller fills them before the run.
        flat: the bytes of each of them; None for those that are taken from where they lie already.
    """

    arguments: tuple[np.ndarray, ...]
    flat: tuple[memoryview | None, ...]

    def fill(self, contents: Sequence[Content]) -> None:
        """Copies the arguments, in their order, to where the run takes them from."""
        for room, array, content in zip(self.flat, self.arguments, contents, strict=True):
            if room is None:
                continue
            if isinstance(content, np.ndarray):
                array[...] = content
            elif content.nbytes <= _LARGE_BYTES:
                room[:] = content
            else:
                np.copyto(np.frombuffer(room, np.uint8), np.frombuffer(content, np.uint8))

    @abc.abstractmethod
    def close(self) -> None:
        """Gives the memory back. Arrays of the block and of its run must not be touched afterwards."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Region(abc.ABC):
    """Memory that the worker sees as well: a run takes arrays in it from where they lie, if they are aligned.

    Attributes:
        memory: its bytes; the first is aligned.
    """

    memory: memoryview

    @abc.abstractmethod
    def close(self) -> None:
        """Gives the memory back, once no run uses it; a second time does nothing."""


class Worker(abc.ABC):
    """Compiles and runs. Every method may be called from any thread, and blocks until done.

    Every method may raise `Problem` (the request is at fault) and `WorkerDied`; `run` also `ProgramMissing`, `prepare`
    also `ValuesNeeded`.
    """

    @abc.abstractmethod
    def platform(self) -> Platform:
        """What the worker computes on."""

    @abc.abstractmethod
    def prepare(self, spec: ProgramSpec) -> Program:
        """Loads, checks, traces and compiles; the worker keeps the program under its key.

        Raises:
            ValuesNeeded: the program depends on values that are not in `spec.static`: add them, and ask again.
        """

    @abc.abstractmethod
    def region(self, nbytes: int) -> Region:
        """Memory that outlasts a run, for arguments that come before their program is known.

        Raises:
            Problem: OVERLOADED or MEMORY_LIMIT where there is none.
        """

    @abc.abstractmethod
    def in_place(self, array: np.ndarray) -> bool:
        """Whether a run takes `array` from where it lies: `allocate` needs no room for it then."""

    @abc.abstractmethod
    def allocate(self, program: Program, contents: Sequence[Content] = ()) -> Block:
        """Memory for one run of `program`; those of `contents` that lie in a region, and aligned, need none."""

    @abc.abstractmethod
    def run(self, program: Program, block: Block, seeds: Seeds) -> Run:
        """Runs `program` on the arguments in `block`."""

    @abc.abstractmethod
    def describe(self, spec: DescribeSpec) -> Description:
        """What a network is, and what it costs; runs nothing."""

    @abc.abstractmethod
    def initialize(self, network: NetworkSource, seed: int) -> bytes:
        """Fresh float32 weights and statistics, as a safetensors file."""

    @property
    @abc.abstractmethod
    def ready(self) -> bool:
        """Whether calls would be taken up at once."""

    @abc.abstractmethod
    def close(self) -> None:
        """Stops; calls under way end with `WorkerDied`."""

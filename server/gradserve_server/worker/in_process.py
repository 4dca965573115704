"""The worker in this process: for tests, trusted callers and the lowest latency."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import final

import numpy as np

from gradserve_server.common.memory import ALIGNMENT, aligned
from gradserve_server.common.specs import (
    DescribeSpec,
    Description,
    Limits,
    NetworkSource,
    Platform,
    Program,
    ProgramSpec,
)
from gradserve_server.worker.interface import Block, Content, ProgramMissing, Region, Run, Seeds, Worker
from gradserve_server.worker.memory import Layout, Layouts, Views

# Freed memory that is kept for runs to come.
_KEPT_BYTES = 64 << 20


@final
class _OwnRegion(Region):
    def __init__(self, nbytes: int) -> None:
        self.memory = aligned(nbytes).data

    def close(self) -> None:
        self.memory = memoryview(b"")


@final
class _PlacedBlock(Block):
    """A block of which some arguments lie in regions."""

    def __init__(self, program: Program, contents: Sequence[Content]) -> None:
        arguments: list[np.ndarray] = []
        flat: list[memoryview | None] = []
        for form, content in zip(program.arguments, contents, strict=True):
            if isinstance(content, np.ndarray) and _is_aligned(content):
                arguments.append(content)
                flat.append(None)
            else:
                memory = aligned(form.nbytes)
                arguments.append(memory.view(form.dtype).reshape(form.shape))
                flat.append(memory.data)
        self.arguments, self.flat = tuple(arguments), tuple(flat)

    def close(self) -> None:
        self.arguments = self.flat = ()


def _is_aligned(array: np.ndarray) -> bool:
    return array.ctypes.data % ALIGNMENT == 0


@final
class _OwnBlock(Block):
    def __init__(self, layout: Layout, pool: _Blocks) -> None:
        views = Views.of(layout, aligned(layout.argument_bytes), 0)
        self.arguments, self.flat = views.arguments, views.flat
        self.layout = layout
        self.in_use = True
        self._pool = pool

    def close(self) -> None:
        self._pool.give_back(self)


@final
class _Blocks:
    """Blocks that were freed, up to a number of bytes. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # By the identity of their layout, which they hold on to.
        self._free: dict[int, list[_OwnBlock]] = {}
        self._kept_bytes = 0

    def take(self, layout: Layout) -> _OwnBlock:
        """A block of this layout."""
        with self._lock:
            free = self._free.get(id(layout))
            if free:
                self._kept_bytes -= layout.argument_bytes
                block = free.pop()
                block.in_use = True
                return block
        return _OwnBlock(layout, self)

    def give_back(self, block: _OwnBlock) -> None:
        """Keeps the block, or lets it go; a second time does nothing."""
        nbytes = block.layout.argument_bytes
        with self._lock:
            if not block.in_use:
                return
            block.in_use = False
            if self._kept_bytes + nbytes > _KEPT_BYTES:
                self._free.clear()
                self._kept_bytes = 0
            if nbytes <= _KEPT_BYTES:
                self._kept_bytes += nbytes
                self._free.setdefault(id(block.layout), []).append(block)


@final
class InProcessWorker(Worker):
    """Calls the executor in the caller's own thread."""

    def __init__(self, limits: Limits) -> None:
        # Here, so that a front with a worker process never loads JAX.
        from gradserve_server.compute.executor import Executor

        self._executor = Executor(limits)
        self._layouts = Layouts(4 * limits.programs)
        self._blocks = _Blocks()
        self._closed = False

    def platform(self) -> Platform:
        return self._executor.platform()

    def prepare(self, spec: ProgramSpec) -> Program:
        return self._executor.prepare(spec)

    def region(self, nbytes: int) -> Region:
        return _OwnRegion(nbytes)

    def in_place(self, array: np.ndarray) -> bool:
        return _is_aligned(array)

    def allocate(self, program: Program, contents: Sequence[Content] = ()) -> Block:
        if contents:
            return _PlacedBlock(program, contents)
        return self._blocks.take(self._layouts.of(program))

    def run(self, program: Program, block: Block, seeds: Seeds) -> Run:
        try:
            results, seconds = self._executor.run(program.key, block.arguments, seeds.weights, seeds.random)
        except KeyError as error:
            if error.args != (program.key,):
                raise
            raise ProgramMissing from None
        return Run(tuple(results), seconds)

    def describe(self, spec: DescribeSpec) -> Description:
        return self._executor.describe(spec)

    def initialize(self, network: NetworkSource, seed: int) -> bytes:
        return self._executor.initialize(network, seed)

    @property
    def ready(self) -> bool:
        return not self._closed

    def close(self) -> None:
        self._closed = True

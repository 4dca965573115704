"""The worker in this process: for tests, trusted callers and the lowest latency."""

from __future__ import annotations

from typing import final

import numpy as np

from gradserve_server.common.memory import aligned
from gradserve_server.common.specs import (
    DescribeSpec,
    Description,
    Limits,
    NetworkSource,
    Platform,
    Program,
    ProgramSpec,
)
from gradserve_server.worker.interface import Block, ProgramMissing, Run, Seeds, Worker
from gradserve_server.worker.memory import Layouts


@final
class _OwnBlock(Block):
    def __init__(self, arguments: tuple[np.ndarray, ...]) -> None:
        self.arguments = arguments

    def close(self) -> None:
        self.arguments = ()


@final
class InProcessWorker(Worker):
    """Calls the executor in the caller's own thread."""

    def __init__(self, limits: Limits) -> None:
        # Here, so that a front with a worker process never loads JAX.
        from gradserve_server.compute.executor import Executor

        self._executor = Executor(limits)
        self._layouts = Layouts(4 * limits.programs)
        self._closed = False

    def platform(self) -> Platform:
        return self._executor.platform()

    def prepare(self, spec: ProgramSpec) -> Program:
        return self._executor.prepare(spec)

    def allocate(self, program: Program) -> Block:
        layout = self._layouts.of(program)
        memory = aligned(layout.argument_bytes)
        return _OwnBlock(tuple(place.view(memory, 0) for place in layout.arguments))

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

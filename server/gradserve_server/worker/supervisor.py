"""The worker in a process of its own, which is started again whenever it dies."""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any, Final, TypeVar, final

import msgspec
import numpy as np

from gradserve_server.common.errors import Problem, ProblemData, Reason, ValuesNeeded
from gradserve_server.common.specs import (
    DescribeSpec,
    Description,
    Limits,
    NetworkSource,
    Platform,
    Program,
    ProgramSpec,
)
from gradserve_server.worker.interface import Block, Content, ProgramMissing, Region, Run, Seeds, Worker, WorkerDied
from gradserve_server.worker.lanes import (
    ChildSettings,
    InitializeRequest,
    Kind,
    Lane,
    LaneClosed,
    LaneOverdue,
    RunReply,
    RunRequest,
    encode,
)
from gradserve_server.worker.memory import Arena, Layout, Layouts
from gradserve_server.worker.pool import LanePool

_LOGGER = logging.getLogger("gradserve_server.worker")

# How long a caller waits while there is no worker process.
_PATIENCE_SECONDS = 60.0
# How long a process may take to start; loading JAX takes a few seconds, on a busy machine more.
_START_SECONDS = 120.0
# How long a process whose sockets are closed may take to be gone, writing a core file included.
_EXIT_SECONDS = 10.0
# Pauses before the process is started again, by how often it has died soon after its start.
_PAUSES_SECONDS = (0.0, 0.1, 0.5, 2.0)
_SOON_SECONDS = 5.0
# A reply holds at most this much beside what `Limits.memory_bytes` allows for weights.
_REPLY_OVERHEAD_BYTES = 64 << 20

_Reply = TypeVar("_Reply")

_PROBLEM: Final = msgspec.msgpack.Decoder(ProblemData)
_PLATFORM: Final = msgspec.msgpack.Decoder(Platform)
_PROGRAM: Final = msgspec.msgpack.Decoder(Program)
_DESCRIPTION: Final = msgspec.msgpack.Decoder(Description)
_RUN_REPLY: Final = msgspec.msgpack.Decoder(RunReply)
_BYTES: Final = msgspec.msgpack.Decoder(bytes)
_NAMES: Final = msgspec.msgpack.Decoder(tuple[str, ...])


@final
class _SharedRegion(Region):
    def __init__(self, arena: Arena, nbytes: int) -> None:
        memory = arena.memory
        self._offset = arena.allocate(nbytes)
        self._arena: Arena | None = arena
        self.memory = memoryview(memory)[self._offset : self._offset + nbytes]

    def close(self) -> None:
        arena, self._arena = self._arena, None
        if arena is not None:
            self.memory = memoryview(b"")
            arena.free(self._offset)


@final
class _SharedBlock(Block):
    """Memory of the arena.

    Attributes:
        placed: where in the arena arguments lie that need no room here, by index.
    """

    def __init__(self, arena: Arena, layout: Layout, contents: Sequence[Content]) -> None:
        memory = arena.memory
        self.placed: dict[int, int] = {}
        for index, content in enumerate(contents):
            offset = arena.offset_of(content) if isinstance(content, np.ndarray) else None
            if offset is not None:
                self.placed[index] = offset
        if self.placed:
            layout = layout.without(self.placed)
        self.offset = arena.allocate(layout.total_bytes)
        self._arena: Arena | None = arena
        # All of them now: after the run the arena may be closed already.
        views = layout.views(memory, self.offset)
        self.arguments, self.results, self.flat = views.arguments, views.results, views.flat
        if self.placed:
            self.flat = tuple(None if index in self.placed else one for index, one in enumerate(views.flat))
            self.arguments = tuple(
                contents[index] if index in self.placed else one  # type: ignore[misc]
                for index, one in enumerate(views.arguments)
            )

    def close(self) -> None:
        arena, self._arena = self._arena, None
        if arena is not None:
            self.arguments = self.results = self.flat = ()
            arena.free(self.offset)


@final
class _Incarnation:
    """One worker process. Only the supervising thread calls it, except for `abandon`."""

    def __init__(self, generation: int, limits: Limits, lanes: int, arena: Arena, call_seconds: float) -> None:
        self.generation = generation
        self.born = time.monotonic()
        self._abandoned = False
        ours, theirs = zip(*(socket.socketpair() for _ in range(lanes + 1)), strict=True)
        self._control = ours[0]
        settings = ChildSettings(
            arena_descriptor=arena.descriptor,
            arena_bytes=arena.nbytes,
            control_descriptor=theirs[0].fileno(),
            lane_descriptors=tuple(one.fileno() for one in theirs[1:]),
            limits=limits,
            log_level=logging.getLevelName(_LOGGER.getEffectiveLevel()),
        )
        most = limits.memory_bytes + _REPLY_OVERHEAD_BYTES
        self.lanes = [
            Lane(one, generation=generation, most_bytes=most, patience_seconds=call_seconds) for one in ours[1:]
        ]
        try:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-P", "-m", "gradserve_server.worker.child"),
                    msgspec.json.encode(settings).decode(),
                ],
                stdin=subprocess.DEVNULL,
                stdout=2,  # standard output is the front's own
                pass_fds=(arena.descriptor, *(one.fileno() for one in theirs)),
                process_group=0,  # a Ctrl-C is for the front, which then drains
                env={"TF_CPP_MIN_LOG_LEVEL": "1"} | os.environ,
            )
        except OSError:
            for lane in self.lanes:
                lane.close()
            self._control.close()
            raise
        finally:
            for one in theirs:
                one.close()

    def started(self) -> Platform | None:
        """Waits until the process is ready; None if it never is."""
        self._control.settimeout(_START_SECONDS)
        try:
            kind, body = Lane(self._control).receive()
            return _PLATFORM.decode(body) if kind is Kind.STARTED else None
        except (LaneClosed, msgspec.DecodeError):
            return None

    def wait(self) -> None:
        """Waits until the process ends its side, or is abandoned."""
        self._control.settimeout(None)
        with contextlib.suppress(OSError):
            while self._control.recv(1):
                pass

    def abandon(self) -> None:
        """Makes the supervising thread end the process."""
        self._abandoned = True
        with contextlib.suppress(OSError):
            self._control.shutdown(socket.SHUT_RDWR)

    def end(self) -> int:
        """Ends the process; gives its exit status, negative for a signal."""
        if not self._abandoned:
            # It is about to be gone by itself, and its own exit status tells why.
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(_EXIT_SECONDS)
        # There is nothing in it to save. Once it is gone, this does nothing.
        self.process.kill()
        status = self.process.wait()
        self._control.close()
        return status


@final
class ProcessWorker(Worker):
    """A supervised worker process behind lanes and shared memory; computes nothing itself.

    A process that dies is replaced: calls that were in it raise `WorkerDied`, calls that come
    meanwhile wait for the next one. Blocks stay as they are.

    Args:
        limits: bounds on definitions, for the worker.
        lanes: how many calls the worker has under way at once.
        arena_bytes: shared memory for the arrays of all runs together.
        call_seconds: how long one call may take. Nothing can stop it but the end of its process, which is
            then replaced.
    """

    def __init__(self, limits: Limits, lanes: int, arena_bytes: int, call_seconds: float = 600.0) -> None:
        self._limits = limits
        self._call_seconds = call_seconds
        self._lanes = lanes
        self._arena = Arena(arena_bytes, keep_bytes=max(256 << 20, arena_bytes // 4))
        self._layouts = Layouts(4 * limits.programs)
        self._pool = LanePool(_PATIENCE_SECONDS)
        self._lock = threading.Lock()
        self._incarnation: _Incarnation | None = None
        self._platform: Platform | None = None
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._supervise, name="supervisor", daemon=True)
        self._thread.start()

    def platform(self) -> Platform:
        if self._platform is None:
            # A lane is free once the first process has said what it computes on.
            self._pool.release(self._pool.acquire())
        assert self._platform is not None
        return self._platform

    def prepare(self, spec: ProgramSpec) -> Program:
        return self._call(Kind.PREPARE, spec, _PROGRAM)

    def region(self, nbytes: int) -> Region:
        return _SharedRegion(self._arena, nbytes)

    def in_place(self, array: np.ndarray) -> bool:
        return self._arena.offset_of(array) is not None

    def allocate(self, program: Program, contents: Sequence[Content] = ()) -> Block:
        return _SharedBlock(self._arena, self._layouts.of(program), contents)

    def run(self, program: Program, block: Block, seeds: Seeds) -> Run:
        assert isinstance(block, _SharedBlock)
        request = RunRequest(program.key, block.offset, seeds.weights, seeds.random, block.placed)
        reply = self._call(Kind.RUN, request, _RUN_REPLY)
        return Run(block.results, reply.execute_seconds)

    def describe(self, spec: DescribeSpec) -> Description:
        return self._call(Kind.DESCRIBE, spec, _DESCRIPTION)

    def initialize(self, network: NetworkSource, seed: int) -> bytes:
        request = InitializeRequest(network.format, network.content, seed)
        return self._call(Kind.INITIALIZE, request, _BYTES)

    @property
    def ready(self) -> bool:
        return self._pool.ready

    @property
    def pid(self) -> int | None:
        """The worker process that calls go to."""
        with self._lock:
            incarnation = self._incarnation
        return incarnation.process.pid if incarnation and self.ready else None

    def close(self) -> None:
        self._closing.set()
        self._pool.close()
        with self._lock:
            if self._incarnation is not None:
                self._incarnation.abandon()
        self._thread.join()
        self._arena.close()
        self._layouts.clear()

    def _call(self, kind: Kind, request: object, replies: msgspec.msgpack.Decoder[_Reply]) -> _Reply:
        body = encode(request)
        lane = self._sent(kind, body)
        try:
            answer, reply_body = lane.receive()
            reply: Any = None
            if answer is Kind.DONE:
                reply = replies.decode(reply_body)
            elif answer is Kind.PROBLEM:
                reply = Problem.from_data(_PROBLEM.decode(reply_body))
            elif answer is Kind.VALUES_NEEDED:
                reply = ValuesNeeded(_NAMES.decode(reply_body))
            elif answer is not Kind.MISSING:
                raise LaneClosed(f"{answer} is no reply")
        except BaseException as error:
            # Request and reply are out of step on this lane, and the process may still write into
            # the block that the caller is about to close.
            self._abandon(lane)
            if isinstance(error, LaneOverdue):
                raise self._overdue() from None
            if isinstance(error, (LaneClosed, msgspec.DecodeError, KeyError)):
                raise WorkerDied(str(error)) from error
            raise
        self._pool.release(lane)
        if answer is Kind.MISSING:
            raise ProgramMissing
        if isinstance(reply, (Problem, ValuesNeeded)):
            raise reply
        return reply  # type: ignore[no-any-return]

    def _overdue(self) -> Problem:
        """A call that nobody can stop but by ending the process: others in it run again."""
        return Problem(
            Reason.TIME_LIMIT,
            "compiling or computing takes longer than it may",
            expected=f"at most {self._call_seconds:g} seconds",
            hint="Make the network or the batch smaller, or raise the server's max_call_seconds.",
            metadata={"limit_seconds": f"{self._call_seconds:g}"},
        )

    def _sent(self, kind: Kind, body: bytes) -> Lane:
        """A lane with the request on its way."""
        while True:
            lane = self._pool.acquire()
            try:
                lane.send(kind, body)
            except LaneClosed:
                # It died before it had the request, which is therefore not the cause.
                self._abandon(lane)
            except BaseException:
                self._abandon(lane)
                raise
            else:
                return lane

    def _abandon(self, lane: Lane) -> None:
        lane.close()
        self._pool.retire(lane.generation)
        with self._lock:
            if self._incarnation is not None and self._incarnation.generation == lane.generation:
                self._incarnation.abandon()

    def _supervise(self) -> None:
        for generation, pause in zip(itertools.count(1), self._pauses(), strict=False):
            if self._closing.wait(pause):
                return
            try:
                incarnation = _Incarnation(generation, self._limits, self._lanes, self._arena, self._call_seconds)
            except OSError:
                _LOGGER.exception("worker cannot be started")
                continue
            with self._lock:
                self._incarnation = incarnation
                if self._closing.is_set():
                    incarnation.abandon()
            self._watch(incarnation)

    def _watch(self, incarnation: _Incarnation) -> None:
        """From the start of a process to its end."""
        facts = {"pid": incarnation.process.pid, "generation": incarnation.generation}
        platform = incarnation.started()
        if platform is None:
            for lane in incarnation.lanes:
                lane.close()
        else:
            self._platform = platform
            seconds = round(time.monotonic() - incarnation.born, 3)
            _LOGGER.info("worker started", extra=facts | {"start_seconds": seconds})
            self._pool.open(incarnation.generation, incarnation.lanes)
            incarnation.wait()
            self._pool.retire(incarnation.generation)
        with self._lock:
            self._incarnation = None
        facts["exit_status"] = incarnation.end()
        if self._closing.is_set():
            _LOGGER.info("worker ended", extra=facts)
        else:
            _LOGGER.error("worker died", extra=facts)

    def _pauses(self) -> Iterator[float]:
        """How long to wait before each start: longer the more often it fails at once."""
        failures = 0
        while True:
            before = time.monotonic()
            pause = _PAUSES_SECONDS[min(failures, len(_PAUSES_SECONDS) - 1)]
            yield pause
            lived = time.monotonic() - before - pause
            failures = failures + 1 if lived < _SOON_SECONDS else 0

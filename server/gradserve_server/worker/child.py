"""The worker process: ``python -m gradserve_server.worker.child SETTINGS``.

The supervisor starts it, and it ends when its control socket does, whatever became of the front.
"""

from __future__ import annotations

import logging
import mmap
import os
import resource
import socket
import sys
import threading
from typing import TYPE_CHECKING, Any, NoReturn, final

import msgspec
import numpy as np
from pythonjsonlogger.json import JsonFormatter

from gradserve_server.common.errors import Problem, Reason, ValuesNeeded
from gradserve_server.common.memory import MOST_TWICE_BYTES, keep_freed_memory, move
from gradserve_server.common.specs import DescribeSpec, NetworkSource, ProgramSpec
from gradserve_server.worker.lanes import (
    ChildSettings,
    InitializeRequest,
    Kind,
    Lane,
    LaneClosed,
    RunReply,
    RunRequest,
    encode,
)
from gradserve_server.worker.memory import Layouts, Views

if TYPE_CHECKING:
    from gradserve_server.compute.executor import Executor

_LOGGER = logging.getLogger("gradserve_server.worker.child")

# Tracing recurses once for each level of nesting; address space that is not used costs nothing.
_STACK_BYTES = 64 << 20

# Tracing holds the interpreter. A run that waits for it asks for it after this long, not after the
# 5 ms that Python has by default: beside compilations, the slowest 1 % of small calls took 6 ms in
# place of 20.
_SWITCH_SECONDS = 0.0005

_INTERNAL = "the server failed; its log tells more"


@final
class Answers:
    """Answers requests with an executor. Thread-safe."""

    def __init__(self, executor: Executor, memory: mmap.mmap, programs: int) -> None:
        self._executor = executor
        self._memory = memory
        self._layouts = Layouts(4 * programs)
        self._requests: dict[Kind, msgspec.msgpack.Decoder[Any]] = {
            Kind.PREPARE: msgspec.msgpack.Decoder(ProgramSpec),
            Kind.RUN: msgspec.msgpack.Decoder(RunRequest),
            Kind.DESCRIBE: msgspec.msgpack.Decoder(DescribeSpec),
            Kind.INITIALIZE: msgspec.msgpack.Decoder(InitializeRequest),
        }

    def answer(self, kind: Kind, body: memoryview) -> tuple[Kind, bytes]:
        """Kind and body of the reply; whatever goes wrong becomes one."""
        try:
            return self._answer(kind, self._requests[kind].decode(body))
        except Problem as problem:
            return Kind.PROBLEM, encode(problem.data())
        except ValuesNeeded as needed:
            return Kind.VALUES_NEEDED, encode(needed.names)
        except Exception:
            # What a stranger's network does to the code below can be anything; the front must
            # hear of it, and the caller must not see our traceback.
            _LOGGER.exception("request failed", extra={"kind": kind.name})
            return Kind.PROBLEM, encode(Problem(Reason.INTERNAL, _INTERNAL).data())

    def _answer(self, kind: Kind, request: Any) -> tuple[Kind, bytes]:
        match kind:
            case Kind.RUN:
                return self._run(request)
            case Kind.PREPARE:
                program = self._executor.prepare(request)
                self._layouts.of(program)
                return Kind.DONE, encode(program)
            case Kind.DESCRIBE:
                return Kind.DONE, encode(self._executor.describe(request))
            case _:
                network = NetworkSource(request.format, request.content)
                return Kind.DONE, encode(self._executor.initialize(network, request.seed))

    def _run(self, request: RunRequest) -> tuple[Kind, bytes]:
        layout = self._layouts.get(request.key)
        if layout is None:
            return Kind.MISSING, b""
        if request.placed:
            views = Views.of(layout.without(request.placed), self._memory, request.block)
            arguments = [
                layout.arguments[index].at(0).view(self._memory, request.placed[index])
                if index in request.placed
                else one
                for index, one in enumerate(views.arguments)
            ]
        else:
            views = layout.views(self._memory, request.block)
            arguments = list(views.arguments)
        try:
            results, seconds = self._executor.run(request.key, arguments, request.weights_seed, request.random_seed)
        except KeyError as error:
            if error.args != (request.key,):
                raise
            return Kind.MISSING, b""
        for room, result in zip(views.results, results, strict=True):
            if result.shape != room.shape or result.dtype != room.dtype:
                raise TypeError(f"a result is {result.dtype}{result.shape}, the program says {room.dtype}{room.shape}")
            if layout.total_bytes - layout.argument_bytes > MOST_TWICE_BYTES and result.flags.c_contiguous:
                move(result, room)
            else:
                np.copyto(room, result)
        return Kind.DONE, encode(RunReply(seconds))


def _serve(lane: Lane, answers: Answers) -> None:
    try:
        while True:
            kind, body = lane.receive()
            lane.send(*answers.answer(kind, body))
    except LaneClosed:
        lane.close()


def _log_to_standard_error(level: str) -> None:
    handler = logging.StreamHandler(sys.stderr)
    names = {"asctime": "time", "levelname": "level", "name": "logger"}
    formatter = JsonFormatter("%(asctime)s %(levelname)s %(name)s %(message)s", rename_fields=names)
    handler.setFormatter(formatter)
    logging.basicConfig(level=level.upper(), handlers=[handler])
    logging.getLogger("jax").setLevel(logging.WARNING)


def main(argument: str) -> NoReturn:
    """Serves until the control socket ends."""
    settings = msgspec.json.decode(argument, type=ChildSettings)
    # A stranger's network can crash this process, and a core file would hold strangers' weights.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    keep_freed_memory()
    sys.setswitchinterval(_SWITCH_SECONDS)
    _log_to_standard_error(settings.log_level)
    memory = mmap.mmap(settings.arena_descriptor, settings.arena_bytes)
    os.close(settings.arena_descriptor)

    # After the allocator has been set up: JAX takes most of the memory.
    from gradserve_server.compute.executor import Executor

    executor = Executor(settings.limits)
    platform = executor.platform()
    answers = Answers(executor, memory, settings.limits.programs)
    threading.stack_size(_STACK_BYTES)
    for number, descriptor in enumerate(settings.lane_descriptors):
        lane = Lane(socket.socket(fileno=descriptor))
        name = f"lane-{number}"
        threading.Thread(target=_serve, args=(lane, answers), name=name, daemon=True).start()

    control = socket.socket(fileno=settings.control_descriptor)
    try:
        Lane(control).send(Kind.STARTED, encode(platform))
        while control.recv(1):
            pass
    except (LaneClosed, OSError):
        pass
    # Not an orderly exit: threads may be in XLA, and there is nothing to save.
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1])

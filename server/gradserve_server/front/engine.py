"""What each call does: conversion, program, memory, run, answer."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import importlib.metadata
import time
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Protocol, Self, TypeVar, final

from gradserve.v1 import gradient_service_pb2 as service
from gradserve_server.common.budget import Budget, Purpose, Reservation
from gradserve_server.common.config import Settings
from gradserve_server.common.errors import Problem, Reason, ValuesNeeded
from gradserve_server.common.metrics import Metrics
from gradserve_server.common.specs import DescribeSpec, NetworkSource, Program, ProgramSpec
from gradserve_server.common.unknown_fields import refuse_unknown
from gradserve_server.front import convert
from gradserve_server.front.answers import tensor_spec
from gradserve_server.front.artifacts.service import message as digest_message
from gradserve_server.front.artifacts.store import Digest, Store
from gradserve_server.front.forms import Reply, Times
from gradserve_server.front.kinds import Kind
from gradserve_server.front.losses import read_loss
from gradserve_server.front.options import CHECKPOINTING_NUMBERS, loss_scale_of, options_of, selection_of
from gradserve_server.front.programs import Prepared, Programs
from gradserve_server.front.reading import Reading, reading
from gradserve_server.front.static_inputs import StaticInputs
from gradserve_server.front.templates import Templates
from gradserve_server.worker.interface import Block, ProgramMissing, Region, Worker, WorkerDied

# How often a call may find its worker dead before it is taken for the cause, or its program pushed out.
_TRIES = 3
# What one message can hold, less some for names and numbers.
_MOST_ANSWER_BYTES = (1 << 31) - (1 << 20)

Result = TypeVar("Result")


class Caller(Protocol):
    """What the engine needs of the call that it answers.

    Attributes:
        request_bytes: the request as it came; they are reserved already.
    """

    request_bytes: int

    def check(self) -> None:
        """Raises a `Problem` if the caller has given up or its deadline has passed."""

    def compiling(self) -> None:
        """Tells the caller that its program is being compiled."""


@final
class _Tries:
    """How often the worker has died under one call."""

    def __init__(self) -> None:
        self._deaths = 0

    def died(self) -> None:
        """Raises a `Problem` once it is no accident any more."""
        self._deaths += 1
        if self._deaths == _TRIES:
            raise Problem(
                Reason.WORKER_CRASHED,
                f"the worker died {_TRIES} times with this request in it",
                hint="The request may be the cause; do not send it again unchanged.",
            )


@final
class Finished:
    """An answer, and the memory that its tensors lie in until `close`."""

    __slots__ = ("block", "reply", "reservation")

    def __init__(self, block: Block, reservation: Reservation) -> None:
        self.block = block
        self.reservation = reservation
        self.reply = Reply(b"")

    def close(self) -> None:
        """Gives the memory back; a second time does nothing."""
        self.block.close()
        self.reservation.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@final
class Engine:
    """Answers calls; knows nothing of gRPC, and of the worker only its interface."""

    def __init__(self, settings: Settings, worker: Worker, metrics: Metrics) -> None:
        self._settings = settings
        self._worker = worker
        self._metrics = metrics
        self._programs = Programs(settings.max_programs)
        self._templates = Templates()
        self._static_inputs = StaticInputs()
        self.budget = Budget(settings.memory_budget)
        most = settings.memory_budget // 4 if settings.store_bytes is None else settings.store_bytes
        self.store = Store(self.budget, worker.region, most)
        for purpose in Purpose:
            metrics.watch_memory(purpose.value, lambda purpose=purpose: self.budget.used_by(purpose))  # type: ignore[misc]
        metrics.watch_programs(lambda: len(self._programs))

    def describe_network(
        self, request: service.DescribeNetworkRequest, caller: Caller
    ) -> service.DescribeNetworkResponse:
        """DescribeNetwork."""
        refuse_unknown(request, "")
        most = self._settings.max_definition_bytes
        with reading(Reading(store=self.store)) as read:
            source = convert.network_source(request.network, most)
        network = self._hold(read, source)
        loss, vectors = read_loss(request.loss, most) if request.HasField("loss") else (b"", {})
        spec = DescribeSpec(
            network=source,
            dimensions=dict(request.dimensions),
            loss=loss,
            selection=selection_of(request.gradients),
            options=options_of(request.options),
            vectors=convert.forms(dict(sorted((vectors | loss_scale_of(request.options)).items()))),
        )
        if spec.dimensions:
            caller.compiling()
        found = self._again(caller, lambda: self._worker.describe(spec))
        response = service.DescribeNetworkResponse(
            digest=digest_message(network),
            inputs=[tensor_spec(one) for one in found.inputs],
            outputs=[tensor_spec(one) for one in found.outputs],
            parameters=[tensor_spec(one) for one in found.parameters],
            statistics=[tensor_spec(one) for one in found.statistics],
            parameter_count=sum(_elements(one.shape) for one in found.parameters),
            flops=found.flops or 0,
        )
        for plan in found.memory:
            response.memory.add(
                checkpointing=CHECKPOINTING_NUMBERS[plan.checkpointing], peak_bytes=plan.peak_bytes, fits=plan.fits
            )
        return response

    def initialize_weights(
        self, request: service.InitializeWeightsRequest, caller: Caller
    ) -> service.InitializeWeightsResponse:
        """InitializeWeights."""
        refuse_unknown(request, "")
        with reading(Reading(store=self.store)) as found:
            source = convert.network_source(request.network, self._settings.max_definition_bytes)
        content = self._again(caller, lambda: self._worker.initialize(source, request.seed))
        if request.keep_only:
            held = self.store.keep(found.identity, content)
            return service.InitializeWeightsResponse(digest=digest_message(held))
        return service.InitializeWeightsResponse(safetensors=content, digest=digest_message(Digest.of(content)))

    def get_server_info(self, request: service.GetServerInfoRequest, caller: Caller) -> service.GetServerInfoResponse:
        """GetServerInfo."""
        refuse_unknown(request, "")
        platform = self._again(caller, self._worker.platform)
        names = ("max_message_bytes", "max_definition_bytes", "max_nodes", "max_programs", "memory_budget")
        packages = ("grpcio", "protobuf")
        return service.GetServerInfoResponse(
            version=importlib.metadata.version("gradserve"),
            platform=platform.platform,
            devices=platform.devices,
            limits={name: getattr(self._settings, name) for name in names},
            onnx_operators=platform.onnx_operators,
            operations=platform.operations,
            losses=platform.losses,
            versions=platform.versions | {name: importlib.metadata.version(name) for name in packages},
        )

    def compute(self, kind: Kind, content: bytes, caller: Caller) -> bytes:
        """The answer to a request that runs a program."""
        start = time.perf_counter()
        task = self.find_task(kind, content)
        is_new = task is None
        if task is None:
            task = self.read_task(kind, convert.parse(kind.message, content))
        self._metrics.observe(kind.method, ("convert", time.perf_counter() - start))
        is_known = is_new and self._programs.find(self._static_inputs.complete(task).key) is not None
        finished = self.run(kind, task, caller, split=False)
        with finished:
            answer = finished.reply.content
        # Only what has come before is worth remembering.
        if is_known and not task.is_kept:
            self._templates.learn(kind.method, content, task)
        return answer

    def region(self, nbytes: int) -> Region:
        """Memory for what comes before its program is known; its bytes are to be reserved before."""
        return self._worker.region(nbytes)

    def find_task(self, kind: Kind, content: bytes) -> convert.Task | None:
        """What a serialized request asks for, if one like it has come before."""
        return self._templates.find(kind.method, content)

    def read_task(
        self, kind: Kind, request: Any, attachments: Mapping[int, memoryview] = MappingProxyType({})
    ) -> convert.Task:
        """What `request` asks for; its attachments by number."""
        with reading(Reading(attachments, self.store)) as found:
            task = kind.task(request, self._settings.max_definition_bytes)
        appendix = b""
        network = self._hold(found, task.spec.network)
        if kind.message is service.ComputeGradientsRequest:
            held = service.ComputeGradientsResponse(network_digest=digest_message(network))
            if found.kept is not None:
                held.weights_digest.CopyFrom(digest_message(found.kept))
            appendix = held.SerializeToString()
        return dataclasses.replace(
            task,
            in_regions=bool(attachments or found.artifacts),
            artifacts=tuple(found.artifacts),
            appendix=appendix,
            is_kept=found.kept is not None,
        )

    def _hold(self, read: Reading, network: NetworkSource) -> Digest:
        """The address of a network, which is held as long as there is room."""
        digest = Digest(network.hash, len(network.content))
        with contextlib.suppress(Problem):
            self.store.keep(read.identity, network.content, digest)
        return digest

    def run(self, kind: Kind, task: convert.Task, caller: Caller, *, split: bool) -> Finished:
        """Makes the program if there is none, runs it in memory of the budget, and makes the answer of its results."""
        compile_seconds = 0.0
        tries = _Tries()
        # With the values of its static inputs, as far as they are known to be that.
        asked = self._static_inputs.complete(task)
        for _ in range(_TRIES + _TRIES):
            caller.check()
            prepared = self._programs.find(asked.key)
            if prepared is None:
                caller.compiling()
                start = time.perf_counter()
                get = functools.partial(self._programs.get, asked.key, asked.spec, self._prepare)
                try:
                    prepared = self._again(caller, get, tries)
                except ValuesNeeded as needed:
                    self._static_inputs.learn(task.spec.network, needed.names)
                    asked = self._static_inputs.complete(task)
                    continue
                compile_seconds += time.perf_counter() - start
                caller.check()
            program = prepared.program
            self._check_fits(prepared, caller.request_bytes)
            if not split:
                _check_one_message(prepared)
            finished = self._allocate(prepared, task)
            try:
                filling = time.perf_counter()
                finished.block.fill(task.arrays)
                start = time.perf_counter()
                run = self._worker.run(program, finished.block, task.seeds)
                done = time.perf_counter()
                execute = run.execute_seconds
                queue = max(0.0, done - start - execute)
                examples = program.padded_examples or task.examples
                times = Times(queue, compile_seconds, execute, 1, examples, program.checkpointing)
                finished.reply = kind.answer(program, run.results, task, times, split=split)
            except (ProgramMissing, WorkerDied) as error:
                finished.close()
                self._programs.forget(asked.key, prepared)
                if isinstance(error, WorkerDied):
                    tries.died()
                continue
            except BaseException:
                finished.close()
                raise
            answered = time.perf_counter()
            phases = [("fill", start - filling), ("queue", queue), ("execute", execute), ("answer", answered - done)]
            if compile_seconds:
                phases.append(("compile", compile_seconds))
            self._metrics.observe(kind.method, *phases)
            return finished
        raise Problem(
            Reason.OVERLOADED,
            "programs of other requests push this one out before it can run",
            hint="The server's max_programs may be too small for its load.",
            retry_seconds=1.0,
        )

    def _prepare(self, spec: ProgramSpec) -> Program:
        program = self._worker.prepare(spec)
        if program.is_fresh:
            self._metrics.count_compilation()
        return program

    def _allocate(self, prepared: Prepared, task: convert.Task) -> Finished:
        """Memory for a run."""
        reservation = self.budget.reserve(
            (Purpose.BLOCKS, prepared.block_bytes), (Purpose.EXECUTION, prepared.program.peak_bytes)
        )
        try:
            block = self._worker.allocate(prepared.program, task.arrays if task.in_regions else ())
        except BaseException:
            reservation.close()
            raise
        return Finished(block, reservation)

    def _check_fits(self, prepared: Prepared, request_bytes: int) -> None:
        """Refuses what would not fit if there were no other request: waiting cannot help it."""
        needed, limit = request_bytes + prepared.block_bytes + prepared.program.peak_bytes, self.budget.total_bytes
        if needed > limit:
            raise Problem(
                Reason.MEMORY_LIMIT,
                "request, program and answer together need more memory than there is",
                given=f"{needed} bytes",
                expected=f"at most {limit} bytes",
                metadata={"needed_bytes": str(needed), "limit_bytes": str(limit)},
            )

    def _again(self, caller: Caller, call: Callable[[], Result], tries: _Tries | None = None) -> Result:
        """Makes a call of the worker, again if the worker dies under it."""
        tries = tries or _Tries()
        while True:
            caller.check()
            try:
                return call()
            except WorkerDied:
                tries.died()


def _check_one_message(prepared: Prepared) -> None:
    if prepared.result_bytes > _MOST_ANSWER_BYTES:
        raise Problem(
            Reason.TOO_LARGE,
            "the answer would not fit into one message",
            given=f"{prepared.result_bytes} bytes",
            expected=f"at most {_MOST_ANSWER_BYTES} bytes",
            hint="Ask over `Stream`, for fewer gradients or outputs at once, or for a summary only.",
            metadata={"needed_bytes": str(prepared.result_bytes), "limit_bytes": str(_MOST_ANSWER_BYTES)},
        )


def _elements(shape: tuple[int, ...]) -> int:
    total = 1
    for size in shape:
        total *= size
    return total

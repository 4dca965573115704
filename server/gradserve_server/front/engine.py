"""What each call does: conversion, program, memory, run, answer."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import importlib.metadata
import math
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Protocol, Self, TypeVar, final

import numpy as np

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
from gradserve_server.front.groups import Apart, Groups, Share
from gradserve_server.front.kinds import Kind
from gradserve_server.front.losses import read_loss
from gradserve_server.front.needs import Needs, check_one_message
from gradserve_server.front.options import CHECKPOINTING_NUMBERS, loss_scale_of, options_of, selection_of
from gradserve_server.front.programs import Prepared, Programs
from gradserve_server.front.reading import Reading, reading
from gradserve_server.front.static_inputs import StaticInputs
from gradserve_server.front.templates import Templates
from gradserve_server.worker.interface import Block, ProgramMissing, Region, Worker, WorkerDied

# How often a call may find its worker dead before it is taken for the cause, or its program pushed out.
_TRIES = 3

Result = TypeVar("Result")


class Caller(Protocol):
    """What the engine needs of the call that it answers.

    Attributes:
        request_bytes: the request as it came; they are reserved already.
        identity: equal for requests that came the same way.
    """

    request_bytes: int

    @property
    def identity(self) -> Hashable: ...

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

    __slots__ = ("_held", "reply")

    def __init__(self, *held: Block | Reservation | Share) -> None:
        self._held = held
        self.reply = Reply(b"")

    def close(self) -> None:
        """Gives the memory back; a second time does nothing."""
        for one in self._held:
            one.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@final
@dataclasses.dataclass(frozen=True)
class _Ran:
    """What a run gave a request.

    Attributes:
        finished: holds the memory of the results.
        results: in the order of the program's.
        execute: seconds on the device.
        waited: seconds before.
        fill: seconds for copying its arrays, where it ran alone.
        requests: how many shared the run.
    """

    finished: Finished
    results: Sequence[np.ndarray]
    execute: float
    waited: float
    fill: float = 0.0
    requests: int = 1


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
        self._groups = Groups(worker, self.budget, metrics, settings.max_programs) if settings.batching else None
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
        groups = self._groups
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
            needs = Needs.of(prepared, asked.arrays if asked.in_regions else (), self._worker)
            held_bytes = sum(one.digest.size for one in asked.artifacts)
            needs.check(caller.request_bytes + held_bytes, self.budget.total_bytes)
            if not split:
                check_one_message(prepared)
            try:
                ran = self._run(prepared, needs, asked, caller, groups)
            except (ProgramMissing, WorkerDied) as error:
                self._programs.forget(asked.key, prepared)
                if isinstance(error, WorkerDied):
                    tries.died()
                continue
            except Apart:
                groups = None
                continue
            done = time.perf_counter()
            finished = ran.finished
            examples = program.padded_examples or task.examples
            times = Times(ran.waited, compile_seconds, ran.execute, ran.requests, examples, program.checkpointing)
            try:
                finished.reply = kind.answer(program, ran.results, task, times, split=split)
            except BaseException:
                finished.close()
                raise
            answered = time.perf_counter() - done
            phases = [("fill", ran.fill), ("queue", ran.waited), ("execute", ran.execute), ("answer", answered)]
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

    def _run(self, prepared: Prepared, needs: Needs, task: convert.Task, caller: Caller, groups: Groups | None) -> _Ran:
        """One run: of this request alone, or with others that wait."""
        turns = groups.turns(prepared) if groups else None
        if groups is None or turns is None:
            return self._run_alone(prepared, needs, task, 0.0)
        start = time.perf_counter()
        row = groups.enter(turns, prepared, task, caller)
        waited = time.perf_counter() - start
        if row is not None:
            waited = max(0.0, waited - row.execute_seconds)
            return _Ran(Finished(row.share), row.results, row.execute_seconds, waited, requests=row.requests)
        seconds = math.inf
        try:
            ran = self._run_alone(prepared, needs, task, waited)
            seconds = ran.execute
        finally:
            turns.leave(seconds)
        return ran

    def _run_alone(self, prepared: Prepared, needs: Needs, task: convert.Task, waited: float) -> _Ran:
        reservation = needs.reserve(self.budget)
        try:
            block = self._worker.allocate(prepared.program, task.arrays if task.in_regions else ())
        except BaseException:
            reservation.close()
            raise
        finished = Finished(block, reservation)
        try:
            filling = time.perf_counter()
            block.fill(task.arrays)
            start = time.perf_counter()
            run = self._worker.run(prepared.program, block, task.seeds)
        except BaseException:
            finished.close()
            raise
        waited += max(0.0, time.perf_counter() - start - run.execute_seconds)
        self._metrics.observe_run(1)
        return _Ran(finished, run.results, run.execute_seconds, waited, start - filling)

    def _again(self, caller: Caller, call: Callable[[], Result], tries: _Tries | None = None) -> Result:
        """Makes a call of the worker, again if the worker dies under it."""
        tries = tries or _Tries()
        while True:
            caller.check()
            try:
                return call()
            except WorkerDied:
                tries.died()


def _elements(shape: tuple[int, ...]) -> int:
    total = 1
    for size in shape:
        total *= size
    return total

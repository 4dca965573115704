"""Loads, compiles, keeps and runs programs: all that a worker does, without the way to it."""

from __future__ import annotations

import collections
import concurrent.futures
import dataclasses
import importlib.metadata
import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, final

import jax
import jax.numpy as jnp
import numpy as np
import safetensors.numpy
from msgspec import structs

from gradserve_server.common.errors import Problem, Reason, ValuesNeeded
from gradserve_server.common.specs import (
    ArraySpec,
    Checkpointing,
    DescribeSpec,
    Description,
    Limits,
    MemoryPlan,
    Mode,
    NetworkSource,
    Platform,
    Program,
    ProgramSpec,
    SymbolicSpec,
)
from gradserve_server.common.tracing import Request
from gradserve_server.compute import flops, losses, program, rows
from gradserve_server.compute.fitting import find_fitting
from gradserve_server.compute.frontends import graph, onnx, stablehlo
from gradserve_server.compute.frontends.graph.operations import NAMES
from gradserve_server.compute.grouping import gives_same_bits, is_small, one_after_another
from gradserve_server.compute.kept import Kept
from gradserve_server.compute.losses import Loss, load_loss
from gradserve_server.compute.lowering import Compiled, Lowered, lower, sent
from gradserve_server.compute.network import Capability, Network, Signature
from gradserve_server.compute.padded import of_its_own_size, padding_call

_LOGGER = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Executable:
    """A compiled program, and what a run of it needs.

    Attributes:
        program: as the front knows it.
        call: weights, batch and vectors in order, then the seed; gives the results, then the checks if there are any.
        problems: what is wrong where an entry of the checks is true.
        weights: those that do not come with a run, given the seed: fresh ones, or the network's own.
        rows: of a padded batch, where its examples lie in each result.
    """

    program: Program
    call: Callable[..., Sequence[jax.Array]]
    problems: tuple[Problem, ...]
    weights: Callable[[int], Sequence[jax.Array]]
    rows: tuple[rows.Form, ...] | None = None


@final
class Executor:
    """Thread-safe. Programs are kept under the hash of their spec, the least recently used ones dropped."""

    def __init__(self, limits: Limits) -> None:
        # Without it JAX makes float32 of float64; everything here names its types.
        jax.config.update("jax_enable_x64", True)
        # A run waits for its results anyway: on the CPU another thread for them costs a wakeup more.
        jax.config.update("jax_cpu_enable_async_dispatch", False)
        self._limits = limits
        self._lock = threading.Lock()
        self._programs: Kept[Executable] = Kept(limits.programs)
        self._networks: collections.OrderedDict[NetworkSource, Network] = collections.OrderedDict()
        # Of what is not padded, whatever the size of the batch, as its examples depend on each other.
        self._unpadded: collections.OrderedDict[bytes, None] = collections.OrderedDict()
        # One for each padded program that is being made: many sizes ask for the same.
        self._turns: dict[bytes, threading.Lock] = {}

    def platform(self) -> Platform:
        """What this process computes on."""
        devices = jax.devices()
        packages = ("jax", "jaxlib", "numpy", "ml_dtypes", "onnx")
        return Platform(
            platform={"gpu": "cuda"}.get(devices[0].platform, devices[0].platform),
            devices=tuple(str(device) for device in devices),
            operations=tuple(sorted(NAMES | {"block"})),
            onnx_operators=onnx.names_of_operators(),
            losses=tuple(sorted(losses.NAMES)),
            versions={name: importlib.metadata.version(name) for name in packages},
        )

    def prepare(self, spec: ProgramSpec) -> Program:
        """Loads, checks, traces and compiles what `spec` asks for, and keeps it."""
        return self._executable(spec).program

    def _executable(self, spec: ProgramSpec) -> Executable:
        start = time.perf_counter()
        key = spec.key()
        held = self._programs.get(key)
        if held is not None:
            return held
        executable = self._padded(key, spec, start) or self._compile(key, spec, start)
        self._programs.put(key, executable)
        return executable

    def _padded(self, key: bytes, spec: ProgramSpec, start: float) -> Executable | None:
        """What pads its batch and runs the program of that; None where the batch is to be taken as it is."""
        examples = program.examples_of(spec)
        size = program.padded_size(examples)
        if not self._limits.pad_batches or spec.requests > 1 or not program.may_be_padded(spec):
            return None
        family = program.resized(spec, 0).key()
        with self._lock:
            if family in self._unpadded:
                return None
        # Before the rest, so that what is wrong with it is told once.
        network = self._network(spec.network)
        whole_spec = program.padded(spec, size)
        try:
            whole, is_fresh = self._of_padded(whole_spec)
            if examples != size and spec.network.format != "graph":
                # ONNX computes with sizes: what is the same for some of them may be another for this one.
                loss = load_loss(spec.loss, self._limits) if spec.loss else None
                program.find_padding(whole_spec, network, loss, examples)
        except (Problem, ValuesNeeded) as found:
            if isinstance(found, Problem) and found.reason is Reason.DEPENDENT_EXAMPLES:
                with self._lock:
                    self._unpadded[family] = None
                    while len(self._unpadded) > self._limits.programs:
                        self._unpadded.popitem(last=False)
            # Whatever else it is, the batch as it was sent may be without it, or tells it in its own numbers.
            return None
        assert whole.rows is not None
        known = of_its_own_size(spec, key, whole.program, whole.rows)
        seconds = time.perf_counter() - start
        known = structs.replace(known, compile_seconds=seconds, is_fresh=is_fresh, can_group=False)
        call = padding_call(spec, whole.call, size, whole.rows)
        return Executable(known, call, whole.problems, whole.weights)

    def _of_padded(self, spec: ProgramSpec) -> tuple[Executable, bool]:
        """The program of a padded batch, and whether it was compiled by this call."""
        key = spec.key()
        with self._lock:
            turn = self._turns.setdefault(key, threading.Lock())
        try:
            with turn:
                held = self._programs.get(key)
                return (held, False) if held is not None else (self._executable(spec), True)
        finally:
            with self._lock:
                self._turns.pop(key, None)

    def run(
        self, key: bytes, arguments: Sequence[np.ndarray], seeds_weights: int, seeds_random: int
    ) -> tuple[list[np.ndarray], float]:
        """Runs the program `key`: its results, in order, and the seconds that it took.

        Raises:
            KeyError: the program is not held.
            Problem: the data fails a check, such as a class out of range.
        """
        executable = self._programs.get(key)
        if executable is None:
            raise KeyError(key)
        start = time.perf_counter()
        weights = executable.weights(seeds_weights)
        results = executable.call(*weights, *arguments, np.int64(seeds_random))
        arrays = [np.asarray(result) for result in results]
        seconds = time.perf_counter() - start
        if executable.problems:
            failed = arrays.pop()
            if failed.any():
                raise executable.problems[int(np.argmax(failed))]
        return arrays, seconds

    def initialize(self, network: NetworkSource, seed: int) -> bytes:
        """Fresh weights and statistics, or the network's own, as a safetensors file."""
        loaded = self._network(network)
        if loaded.own_weights:
            return safetensors.numpy.save({name: np.array(value) for name, value in loaded.own_weights.items()})
        loaded.require(Capability.FRESH_WEIGHTS)
        dtype = program.computing_type(loaded, None)
        signature = loaded.signature(loaded.symbolic_inputs(), dtype)
        self._check_memory(program.all_weights(signature, dtype))
        weights = _draw(signature, dtype, seed)
        return safetensors.numpy.save({name: np.asarray(value) for name, value in weights.items()})

    def describe(self, spec: DescribeSpec) -> Description:
        """What a network is, and with dimensions, what its gradients cost."""
        loaded = self._network(spec.network)
        dtype = program.computing_type(loaded, None)
        if spec.dimensions or not any(isinstance(size, str) for one in loaded.inputs for size in one.shape):
            inputs = loaded.bound_inputs(spec.dimensions)
            for name, size in spec.dimensions.items():
                if size < 1:
                    raise Problem(
                        Reason.INVALID_VALUE,
                        "not a size",
                        field=f"dimensions.{name}",
                        given=str(size),
                    )
            signature = loaded.signature(inputs, dtype)
            cost = self._cost(spec, loaded, inputs, dtype, signature)
        else:
            signature = loaded.signature(loaded.symbolic_inputs(), dtype)
            cost = None
        name = jnp.dtype(dtype).name
        return Description(
            inputs=loaded.inputs,
            outputs=tuple(
                SymbolicSpec(path, str(form.dtype), tuple(_size(size) for size in form.shape))
                for path, form in ((path, signature.outputs[path]) for path in loaded.outputs)
            ),
            parameters=tuple(ArraySpec(one.name, name, one.shape) for one in signature.parameters.values()),
            statistics=tuple(ArraySpec(one.name, name, one.shape) for one in signature.statistics.values()),
            flops=cost[0] if cost else None,
            memory=cost[1] if cost else (),
        )

    def _cost(
        self,
        spec: DescribeSpec,
        network: Network,
        inputs: dict[str, jax.ShapeDtypeStruct],
        dtype: Any,
        signature: Signature,
    ) -> tuple[int | None, tuple[MemoryPlan, ...]]:
        """FLOPs, where they can be counted, of one computation of gradients, and its memory with each choice."""
        loss = load_loss(spec.loss, self._limits) if spec.loss else losses.sum_of_outputs(network.outputs)
        batch = dict(inputs) | dict(loss.target_forms(signature.outputs))
        options = spec.options
        if options.mode is Mode.UNSPECIFIED:
            # Training is the costlier one of both, where it matters at all.
            options = structs.replace(options, mode=Mode.TRAINING)
        asked = ProgramSpec(
            kind="gradients",
            network=spec.network,
            loss=spec.loss,
            batch=tuple(ArraySpec(name, str(form.dtype), form.shape) for name, form in sorted(batch.items())),
            weights=program.all_weights(signature, dtype),
            selection=spec.selection,
            options=options,
            vectors=spec.vectors,
        )
        choices = program.checkpointing_choices(asked.kind, network)
        lowered = [self._lower(asked, network, loss, choice) for choice in choices]
        # XLA compiles without Python's lock.
        with concurrent.futures.ThreadPoolExecutor(len(lowered)) as pool:
            footprints = [compiled.footprint for compiled in pool.map(Lowered.compile, lowered)]
        plans = tuple(
            MemoryPlan(choice, one.peak, fits=one.needed <= self._limits.memory_bytes)
            for choice, one in zip(choices, footprints, strict=True)
        )
        return flops.count(lowered[0].jaxpr), plans

    def _lower(self, spec: ProgramSpec, network: Network, loss: Loss | None, choice: Checkpointing) -> Lowered:
        return lower(self._build(spec, network, loss, choice))

    def _build(
        self, spec: ProgramSpec, network: Network, loss: Loss | None, choice: Checkpointing
    ) -> program.Computation:
        options = structs.replace(spec.options, checkpointing=choice)
        computation = program.build(structs.replace(spec, options=options), network, loss)
        self._check_memory((*computation.weights, *spec.batch, *spec.vectors))
        return computation

    def _compile(self, key: bytes, spec: ProgramSpec, start: float) -> Executable:
        while True:
            try:
                return self._compile_known(key, spec, start)
            except ValuesNeeded as needed:
                # What tracing found out is enough for another try, if all values are there.
                if not {one.array.name for one in spec.static}.issuperset(needed.names):
                    raise

    def _compile_known(self, key: bytes, spec: ProgramSpec, start: float) -> Executable:
        network = self._network(spec.network).specialized({one.array.name: one.read() for one in spec.static})
        alone = self._executable(structs.replace(spec, requests=1)) if spec.requests > 1 else None
        loss: Loss | None = load_loss(spec.loss, self._limits) if spec.loss else None
        if loss is None and spec.kind in program.NEED_LOSS:
            raise Problem(Reason.MISSING_FIELD, "derivatives of a loss need one", field="loss")
        program.check_capabilities(spec, network)
        padding = program.find_padding(spec, network, loss) if spec.padded else None

        def compile_choice(choice: Checkpointing) -> Compiled:
            computation = dataclasses.replace(self._build(spec, network, loss, choice), padding=padding)
            if not program.takes_gradients(computation):
                return lower(computation).compile()
            return _after(self._executable(structs.replace(spec, kind="gradients", trace=Request())), computation)

        choice, compiled = find_fitting(
            program.checkpointing_choices(spec.kind, network),
            (alone and alone.program.checkpointing) or spec.options.checkpointing,
            compile_choice,
            self._limits.memory_bytes,
        )
        found, arguments = compiled.found, sent(compiled.computation)
        weights = self._weights(spec, compiled.computation)
        call = compiled.call
        if alone is not None and not gives_same_bits(
            alone.call, call, alone.weights(0), alone.program.arguments, spec.requests
        ):
            call = one_after_another(alone.call, len(alone.weights(0)), spec.requests)
        can_share = spec.weights is not None and not program.takes_gradients(compiled.computation)
        known = Program(
            key=key,
            arguments=arguments,
            results=found.results,
            numbers=found.numbers,
            peak_bytes=compiled.footprint.peak,
            in_place_bytes=compiled.footprint.in_place,
            compile_seconds=time.perf_counter() - start,
            layout=found.layout,
            checkpointing=choice,
            can_group=can_share and spec.kind != "trace" and is_small(arguments, found.results),
            # Of one request alone they are raised; of many, each hears of its own.
            problems=() if alone is None else tuple(one.data() for one in found.problems),
        )
        facts = {"kind": spec.kind, "peak_bytes": known.peak_bytes, "seconds": round(known.compile_seconds, 3)}
        if alone is not None:
            facts |= {"requests": spec.requests, "looped": call is compiled.call}
        _LOGGER.info("compiled", extra=facts | ({"checkpointing": choice.value} if choice else {}))
        examples = None if padding is None else tuple(padding.rows_of(spec, one) for one in known.results)
        problems = found.problems if alone is None else ()
        return Executable(known, call, problems, weights, examples)

    def _weights(self, spec: ProgramSpec, computation: program.Computation) -> Callable[[int], Sequence[jax.Array]]:
        """Those that do not come with a run, given the seed."""
        if spec.weights is None:

            def draw(seed: int) -> Sequence[jax.Array]:
                fresh = _draw(computation.signature, computation.dtype, seed)
                return [fresh[one.name] for one in computation.weights]

            return draw
        sent = {one.name for one in spec.weights}
        own = computation.network.own_weights
        held = [
            jnp.asarray(own[one.name].astype(one.dtype, copy=False))
            for one in computation.weights
            if one.name not in sent
        ]
        return lambda _: held

    def _check_memory(self, arrays: Sequence[ArraySpec]) -> None:
        needed = sum(one.nbytes for one in arrays)
        if needed > self._limits.memory_bytes:
            raise Problem(
                Reason.MEMORY_LIMIT,
                "weights and batch need more memory than there is",
                given=f"{needed} bytes",
                expected=f"at most {self._limits.memory_bytes} bytes",
                metadata={
                    "needed_bytes": str(needed),
                    "limit_bytes": str(self._limits.memory_bytes),
                },
            )

    def _network(self, source: NetworkSource) -> Network:
        with self._lock:
            loaded = self._networks.get(source)
        if loaded is None:
            loaded = self._load(source)
            with self._lock:
                self._networks[source] = loaded
                while len(self._networks) > self._limits.programs:
                    self._networks.popitem(last=False)
        return loaded

    def _load(self, source: NetworkSource) -> Network:
        match source.format:
            case "graph":
                return graph.load_network(source.content, self._limits)
            case "onnx":
                return onnx.load_network(source.content, self._limits)
            case "onnx_text":
                return onnx.load_network(source.content, self._limits, is_text=True)
            case "stablehlo":
                return stablehlo.load_network(source.content, self._limits)


def _after(first: Executable, computation: program.Computation) -> Compiled:
    """A computation that takes the gradients of parameters that `first` gives, compiled to run after it."""
    given = [(place, one.array) for place, one in enumerate(first.program.results) if one.group == "gradient"]
    compiled = lower(computation, tuple(form for _, form in given)).compile()

    def call(*arrays: Any) -> Sequence[jax.Array]:
        results = first.call(*arrays)
        both: Sequence[jax.Array] = compiled.call(*arrays[:-1], *(results[place] for place, _ in given), arrays[-1])
        return both

    footprint = structs.replace(
        compiled.footprint,
        peak=max(compiled.footprint.peak, first.program.peak_bytes),
        in_place=min(compiled.footprint.in_place, first.program.in_place_bytes),
    )
    return dataclasses.replace(compiled, call=call, footprint=footprint)


def _draw(signature: Signature, dtype: Any, seed: int) -> dict[str, jax.Array]:
    """Fresh parameters and first statistics by name."""
    parameters = {
        one.name: one.initializer.draw(seed, one.name, one.shape, one.stacked, dtype)
        for one in signature.parameters.values()
        if one.initializer is not None
    }
    return parameters | {one.name: jnp.full(one.shape, one.initial, dtype) for one in signature.statistics.values()}


def _size(size: Any) -> int | str:
    return size if isinstance(size, int) else str(size)

"""Loads, compiles, keeps and runs programs: all that a worker does, without the way to it."""

from __future__ import annotations

import collections
import dataclasses
import importlib.metadata
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, final

import jax
import jax.numpy as jnp
import numpy as np
import safetensors.numpy

from gradserve_server.common.errors import Problem, Reason, ValuesNeeded
from gradserve_server.common.specs import (
    ArraySpec,
    DescribeSpec,
    Description,
    Limits,
    MemoryPlan,
    Mode,
    NetworkSource,
    Options,
    Platform,
    Program,
    ProgramSpec,
    ResultSpec,
    SymbolicSpec,
)
from gradserve_server.common.tracing import Layout
from gradserve_server.compute import flops, losses, program
from gradserve_server.compute.frontends import graph, onnx, stablehlo
from gradserve_server.compute.frontends.graph.operations import NAMES
from gradserve_server.compute.losses import Loss, load_loss
from gradserve_server.compute.network import Capability, Network, Signature


@dataclasses.dataclass(frozen=True)
class Executable:
    """A compiled program, and what a run of it needs.

    Attributes:
        program: as the front knows it.
        call: weights, batch and vectors in order, then the seed; gives the results, then the checks if there are any.
        problems: what is wrong where an entry of the checks is true.
        weights: those that do not come with a run, given the seed: fresh ones, or the network's own.
    """

    program: Program
    call: Callable[..., Sequence[jax.Array]]
    problems: tuple[Problem, ...]
    weights: Callable[[int], Sequence[jax.Array]]


@final
class Executor:
    """Thread-safe. Programs are kept under the hash of their spec, the least recently used ones dropped."""

    def __init__(self, limits: Limits) -> None:
        # Without it JAX makes float32 of float64; everything here names its types.
        jax.config.update("jax_enable_x64", True)
        self._limits = limits
        self._lock = threading.Lock()
        self._programs: collections.OrderedDict[bytes, Executable] = collections.OrderedDict()
        self._networks: collections.OrderedDict[NetworkSource, Network] = collections.OrderedDict()

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
        start = time.perf_counter()
        key = spec.key()
        held = self._held(key)
        if held is not None:
            return held.program
        executable = self._compile(key, spec, start)
        with self._lock:
            self._programs[key] = executable
            while len(self._programs) > self._limits.programs:
                self._programs.popitem(last=False)
        return executable.program

    def run(
        self, key: bytes, arguments: Sequence[np.ndarray], seeds_weights: int, seeds_random: int
    ) -> tuple[list[np.ndarray], float]:
        """Runs the program `key`: its results, in order, and the seconds that it took.

        Raises:
            KeyError: the program is not held.
            Problem: the data fails a check, such as a class out of range.
        """
        executable = self._held(key)
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
            memory=(MemoryPlan("off", cost[1]),) if cost else (),
        )

    def _cost(
        self,
        spec: DescribeSpec,
        network: Network,
        inputs: dict[str, jax.ShapeDtypeStruct],
        dtype: Any,
        signature: Signature,
    ) -> tuple[int | None, int]:
        """FLOPs, where they can be counted, and peak bytes of one computation of gradients."""
        loss = load_loss(spec.loss, self._limits) if spec.loss else losses.sum_of_outputs(network.outputs)
        batch = dict(inputs) | dict(loss.target_forms(signature.outputs))
        asked = ProgramSpec(
            kind="gradients",
            network=spec.network,
            loss=spec.loss,
            batch=tuple(ArraySpec(name, str(form.dtype), form.shape) for name, form in sorted(batch.items())),
            weights=program.all_weights(signature, dtype),
            selection=spec.selection,
            # Training is the costlier one of both, where it matters at all.
            options=Options(mode=Mode.TRAINING) if spec.options.mode is Mode.UNSPECIFIED else spec.options,
            vectors=spec.vectors,
        )
        traced, lowered, _ = self._lower(program.build(asked, network, loss))
        return flops.count(traced.jaxpr.jaxpr), _peak(_compiled(lowered, network))

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
        loss: Loss | None = load_loss(spec.loss, self._limits) if spec.loss else None
        if loss is None and spec.kind in {"gradients", "trace"}:
            raise Problem(Reason.MISSING_FIELD, "gradients need a loss", field="loss")
        computation = program.build(spec, network, loss)
        self._check_memory((*computation.weights, *spec.batch, *spec.vectors))
        _, lowered, found = self._lower(computation)
        compiled = _compiled(lowered, network)
        known = Program(
            key=key,
            arguments=(*(spec.weights or ()), *spec.batch, *spec.vectors),
            results=found.results,
            numbers=found.numbers,
            peak_bytes=_peak(compiled),
            compile_seconds=time.perf_counter() - start,
            layout=found.layout,
        )
        return Executable(known, compiled, found.problems, self._weights(spec, computation))

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

    def _lower(self, computation: program.Computation) -> tuple[Any, Any, _Found]:
        """The computation traced and lowered, and what tracing found out."""
        spec = computation.spec
        groups = (computation.weights, spec.batch, spec.vectors)
        found: list[_Found] = []

        def function(*arrays: jax.Array) -> list[jax.Array]:
            values = iter(arrays)
            weights, batch, vectors = ({one.name: next(values) for one in group} for group in groups)
            arguments = computation.arguments(weights, batch, vectors, seed=next(values))
            results = program.KINDS[spec.kind](computation, arguments)
            answered = results.groups()
            found[:] = [_Found(_forms(answered), tuple(results.numbers), results.evaluation.problems, results.layout)]
            # Last, so that the executor can take them off: they are not part of the answer.
            failed = results.evaluation.failed
            checks = [jnp.stack(failed)] if failed else []
            return [*(value for group in answered.values() for value in group.values()), *checks]

        forms = [jax.ShapeDtypeStruct(one.shape, one.dtype) for group in groups for one in group]
        try:
            traced = jax.jit(function).trace(*forms, jax.ShapeDtypeStruct((), jnp.int64))
            return traced, _lowered(traced, computation.network), found[0]
        except ValueError as error:
            if not computation.network.irreversible or "Reverse-mode differentiation" not in str(error):
                raise
            raise Problem(
                Reason.NOT_DIFFERENTIABLE,
                "no gradient can pass a loop whose number of turns the data decides",
                field="network",
                node=computation.network.irreversible[0],
                hint="Give the loop a number of turns that follows from shapes or constants.",
            ) from None
        except RecursionError:
            raise Problem(Reason.TOO_DEEP, "the network is too deep to trace", field="network") from None

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

    def _held(self, key: bytes) -> Executable | None:
        with self._lock:
            executable = self._programs.get(key)
            if executable is not None:
                self._programs.move_to_end(key)
            return executable


@dataclasses.dataclass(frozen=True)
class _Found:
    """What tracing finds out: forms of the results, names of the numbers, what the checks are about, and a layout."""

    results: tuple[ResultSpec, ...]
    numbers: tuple[str, ...]
    problems: tuple[Problem, ...]
    layout: Layout | None


def _forms(groups: Mapping[str, Mapping[str, jax.Array]]) -> tuple[ResultSpec, ...]:
    """Forms of the arrays that a run gives, in the order in which it gives them."""
    return tuple(
        ResultSpec(group, ArraySpec(name, str(value.dtype), tuple(value.shape)))
        for group, arrays in groups.items()
        for name, value in arrays.items()
    )


def _lowered(traced: Any, network: Network) -> Any:
    try:
        return traced.lower()
    except Exception as error:
        raise network.explain(error) or error from error


def _compiled(lowered: Any, network: Network) -> Any:
    try:
        return lowered.compile()
    except Exception as error:
        raise network.explain(error) or error from error


def _peak(compiled: Any) -> int:
    """Bytes of one run: on CPU the compiler's own peak leaves temporaries out, so they are added up here."""
    memory = compiled.memory_analysis()
    return int(
        memory.argument_size_in_bytes
        + memory.output_size_in_bytes
        + memory.temp_size_in_bytes
        - memory.alias_size_in_bytes
    )


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

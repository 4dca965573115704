"""Computations on their way to the device: traced, compiled, and how much memory a run of them takes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend import core

from gradserve_server.common.errors import Problem, Reason
from gradserve_server.common.specs import ArraySpec, Checkpointing, Footprint, Options, Precision, ResultSpec
from gradserve_server.common.tracing import Layout
from gradserve_server.compute import program
from gradserve_server.compute.checkpointing import RECOMPUTED_LATE
from gradserve_server.compute.grouping import grouped, stacked_arguments, stacked_results
from gradserve_server.compute.jaxprs import has_convolution
from gradserve_server.compute.miscompiled import APART, is_miscompiled
from gradserve_server.compute.network import Network
from gradserve_server.compute.precision import SUMS_IN_32_BITS
from gradserve_server.compute.rewriting import Rule, rewritten


@dataclasses.dataclass(frozen=True)
class Found:
    """What tracing finds out: forms of the results, names of the numbers, what the checks are about, and a layout."""

    results: tuple[ResultSpec, ...]
    numbers: tuple[str, ...]
    problems: tuple[Problem, ...]
    layout: Layout | None


@dataclasses.dataclass(frozen=True)
class Compiled:
    """A computation as it runs.

    Attributes:
        computation: what it computes.
        call: weights, batch and vectors in order, then the seed; gives the results, then the checks if there are any.
        found: what tracing found out.
        footprint: bytes that a run of it takes.
    """

    computation: program.Computation
    call: Any
    found: Found
    footprint: Footprint


@dataclasses.dataclass(frozen=True)
class Lowered:
    """A computation as XLA takes it."""

    computation: program.Computation
    jaxpr: core.Jaxpr
    stages: Any
    found: Found

    def compile(self) -> Compiled:
        """Compiles it; nothing is run."""
        try:
            compiled = self._compiled()
        except Exception as error:
            raise self.computation.network.explain(error) or error from error
        arguments = sum(one.nbytes for one in sent(self.computation))
        results = sum(one.array.nbytes for one in self.found.results)
        footprint = Footprint(arguments, results, _peak(compiled), _in_place(compiled, arguments))
        return Compiled(self.computation, compiled, self.found, footprint)

    def _compiled(self) -> Any:
        options = _options(self.computation)
        compiled = self.stages.compile(compiler_options=options)
        if _is_on_host() and has_convolution(self.jaxpr) and is_miscompiled(compiled.as_text()):
            compiled = self.stages.compile(compiler_options=options | APART)
        return compiled


def sent(computation: program.Computation) -> tuple[ArraySpec, ...]:
    """Forms of the arrays that come with each run, in the order of the program's arguments."""
    spec = computation.spec
    arrays = (*(spec.weights or ()), *spec.batch, *spec.vectors)
    return arrays if spec.requests == 1 else stacked_arguments(arrays, spec.requests)


def lower(computation: program.Computation, gradients: Sequence[ArraySpec] = ()) -> Lowered:
    """The computation traced and lowered.

    Args:
        computation: what is to be computed.
        gradients: forms of the gradients that it takes from another program, as arguments before the seed.

    Raises:
        Problem: tracing shows that it cannot be done.
    """
    spec = computation.spec
    groups = (computation.weights, spec.batch, spec.vectors, gradients)
    found: list[Found] = []

    def function(*arrays: jax.Array) -> list[jax.Array]:
        values = iter(arrays)
        weights, batch, vectors, known = ({one.name: next(values) for one in group} for group in groups)
        arguments = computation.arguments(weights, batch, vectors, seed=next(values), gradients=known)
        results = program.KINDS[spec.kind](computation, arguments)
        answered = results.groups()
        found[:] = [Found(_forms(answered), tuple(results.numbers), results.evaluation.problems, results.layout)]
        # Last, so that the executor can take them off: they are not part of the answer.
        failed = results.evaluation.failed
        checks = [jnp.stack(failed)] if failed else []
        return [*(value for group in answered.values() for value in group.values()), *checks]

    forms = [jax.ShapeDtypeStruct(one.shape, one.dtype) for group in groups for one in group]
    try:
        run = rewritten(function, _rules(spec.options))
        if spec.requests > 1:
            # Those of the network come first.
            own = len(computation.weights) - len(spec.weights or ())
            run = grouped(run, own, spec.requests)
            forms = [*forms[:own], *(jax.ShapeDtypeStruct(one.shape, one.dtype) for one in sent(computation))]
        traced = jax.jit(run).trace(*forms, jax.ShapeDtypeStruct((), jnp.int64))
        known = found[0]
        if spec.requests > 1:
            results = stacked_results(known.results, len(known.problems), spec.requests)
            known = dataclasses.replace(known, results=results)
        return Lowered(computation, traced.jaxpr.jaxpr, _lowered(traced, computation.network), known)
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


def _rules(options: Options) -> list[Rule]:
    """What is replaced in the finished program."""
    rules = []
    # Elsewhere XLA heeds what `jax.checkpoint` asks for by itself.
    if options.checkpointing is not Checkpointing.OFF and _is_on_host():
        rules.append(RECOMPUTED_LATE)
    if options.precision is not Precision.FULL:
        rules.append(SUMS_IN_32_BITS)
    return rules


def _options(computation: program.Computation) -> dict[str, bool | int | str]:
    """Of the compiler: a trace is run a few times only and has many reductions, which gain nothing by dear passes."""
    if computation.spec.kind == "trace" and _is_on_host():
        return {
            "xla_cpu_use_fusion_emitters": False,
            "xla_backend_optimization_level": 1,
            "xla_llvm_disable_expensive_passes": True,
        }
    return {}


def _lowered(traced: Any, network: Network) -> Any:
    try:
        return traced.lower()
    except Exception as error:
        raise network.explain(error) or error from error


def _forms(groups: Mapping[str, Mapping[str, jax.Array]]) -> tuple[ResultSpec, ...]:
    """Forms of the arrays that a run gives, in the order in which it gives them."""
    return tuple(
        ResultSpec(group, ArraySpec(name, str(value.dtype), tuple(value.shape)))
        for group, arrays in groups.items()
        for name, value in arrays.items()
    )


def _in_place(compiled: Any, arguments: int) -> int:
    """Bytes of arguments that are not copied: on CPU all of them, as they are aligned, but for those not looked at."""
    return min(arguments, int(compiled.memory_analysis().argument_size_in_bytes)) if _is_on_host() else 0


def _is_on_host() -> bool:
    return jax.default_backend() == "cpu"


def _peak(compiled: Any) -> int:
    """Bytes of one run: on CPU the compiler's own peak leaves temporaries out, so they are added up here."""
    memory = compiled.memory_analysis()
    return int(
        memory.argument_size_in_bytes
        + memory.output_size_in_bytes
        + memory.temp_size_in_bytes
        - memory.alias_size_in_bytes
    )

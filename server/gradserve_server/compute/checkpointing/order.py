"""A finished program, in which XLA computes again when the backward pass needs it and not before.

`jax.checkpoint` marks what to compute again, and a barrier keeps that apart from the forward pass; but XLA for CPUs
drops the barrier, and then schedules both at once, so that nothing is saved. A call that is not inlined is one step to
the scheduler: it can only run once the gradient that it takes is there. The calls are put into the finished program,
where nothing is differentiated any more: forward mode, second derivatives and maps over examples are JAX's own.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import jax
from jax.experimental.scheduling_groups import xla_metadata_call
from jax.extend import core

from gradserve_server.compute.jaxprs import Equation
from gradserve_server.compute.rewriting import Rule, Run


def _is_backward_segment(equation: Equation) -> bool:
    parameters = equation.params
    return (
        equation.primitive.name == _checkpoint() and parameters["differentiated"] and parameters["prevent_cse"] is True
    )


def _called(equation: Equation, operands: list[Any], run: Run) -> Sequence[Any]:
    segment = core.ClosedJaxpr(equation.params["jaxpr"], ())
    results: Sequence[Any] = xla_metadata_call(lambda *given: run(segment, given), inlineable="false")(*operands)
    return results


@functools.cache
def _checkpoint() -> str:
    """How this version of JAX calls what `jax.checkpoint` makes."""
    marked = jax.make_jaxpr(jax.checkpoint(lambda x: x))(0.0)
    name: str = marked.jaxpr.eqns[0].primitive.name
    return name


RECOMPUTED_LATE = Rule(_is_backward_segment, _called)

"""A finished program, in which XLA computes again when the backward pass needs it and not before.

`jax.checkpoint` marks what to compute again, and a barrier keeps that apart from the forward pass; but XLA for CPUs
drops the barrier, and then schedules both at once, so that nothing is saved. A call that is not inlined is one step to
the scheduler: it can only run once the gradient that it takes is there. The calls are put into the finished program,
where nothing is differentiated any more: forward mode, second derivatives and maps over examples are JAX's own.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import jax
from jax.experimental.scheduling_groups import xla_metadata_call
from jax.extend import core

from gradserve_server.compute.checkpointing.jaxprs import (
    Equation,
    Values,
    forms,
    inner,
    kept_outputs,
    run_piece,
    traced,
)

Result = TypeVar("Result")


def recomputed_late(function: Callable[..., Result]) -> Callable[..., Result]:
    """`function` of trees of arrays, to be compiled and not to be differentiated any more."""

    def run(*arguments: Any) -> Result:
        closed, form = traced(function, arguments)
        restored: Result = jax.tree.unflatten(form, _run(closed, jax.tree.leaves(arguments)))
        return restored

    return run


def _run(closed: core.ClosedJaxpr, arguments: Any) -> list[Any]:
    values = Values(closed.jaxpr, closed.consts, arguments)
    for equation in closed.jaxpr.eqns:
        if _is_backward_segment(equation):
            segment = core.ClosedJaxpr(equation.params["jaxpr"], ())
            call = xla_metadata_call(lambda *given, segment=segment: _run(segment, given), inlineable="false")
            values.write(equation.outvars, call(*values.read(equation.invars)))
        elif _holds_segment(equation):
            run_piece([_rewritten(equation)], kept_outputs(equation), values)
        else:
            run_piece([equation], kept_outputs(equation), values)
    return values.read(closed.jaxpr.outvars)


def _is_backward_segment(equation: Equation) -> bool:
    parameters = equation.params
    return (
        equation.primitive.name == _checkpoint() and parameters["differentiated"] and parameters["prevent_cse"] is True
    )


def _holds_segment(equation: Equation) -> bool:
    return any(_is_backward_segment(one) or _holds_segment(one) for jaxpr in inner(equation) for one in jaxpr.eqns)


def _rewritten(equation: Equation) -> Equation:
    """`equation` with the jaxprs that it holds rewritten: loops of parts of a batch hold whole backward passes."""

    def rewrite(value: Any) -> Any:
        if isinstance(value, core.ClosedJaxpr):
            return jax.make_jaxpr(lambda *given: _run(value, given))(*forms(value))
        if isinstance(value, core.Jaxpr):
            return rewrite(core.ClosedJaxpr(value, ())).jaxpr
        return tuple(rewrite(one) for one in value) if isinstance(value, tuple) else value

    rewritten: Equation = equation.replace(params={name: rewrite(value) for name, value in equation.params.items()})
    return rewritten


@functools.cache
def _checkpoint() -> str:
    """How this version of JAX calls what `jax.checkpoint` makes."""
    marked = jax.make_jaxpr(jax.checkpoint(lambda x: x))(0.0)
    name: str = marked.jaxpr.eqns[0].primitive.name
    return name

"""A forward pass whose backward pass keeps less than all intermediate values."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from typing import Any, TypeVar

import jax
from jax.extend import core

from gradserve_server.common.specs import Checkpointing
from gradserve_server.compute.checkpointing import cuts
from gradserve_server.compute.checkpointing.loops import run_loop
from gradserve_server.compute.jaxprs import (
    LOOPS,
    Equation,
    Values,
    has_loop,
    inlined,
    is_product,
    kept_outputs,
    nbytes,
    run_piece,
    traced,
)

Result = TypeVar("Result")

# They move or repeat what is there: XLA makes nothing anew for them.
_MOVES = frozenset(
    {"broadcast_in_dim", "reshape", "squeeze", "expand_dims", "convert_element_type", "copy", "iota", "slice"}
)


def checkpointed(function: Callable[..., Result], choice: Checkpointing) -> Callable[..., Result]:
    """`function` of trees of arrays, with the same results and derivatives of any order and mode.

    Args:
        function: pure.
        choice: what its backward pass keeps.
    """
    if choice is Checkpointing.OFF:
        return function

    def run(*arguments: Any) -> Result:
        closed, form = traced(function, arguments)
        results = run_jaxpr(inlined(closed), jax.tree.leaves(arguments), choice)
        restored: Result = jax.tree.unflatten(form, results)
        return restored

    return run


def run_jaxpr(
    closed: core.ClosedJaxpr, arguments: list[Any], choice: Checkpointing, *, repeated: bool = False
) -> list[Any]:
    """Results of `closed`, run in segments; `repeated` if it is the body of a loop."""
    jaxpr = closed.jaxpr
    values = Values(jaxpr, closed.consts, arguments)
    wrap = functools.partial(
        jax.checkpoint,
        # In a loop forward and backward pass are different computations, which nothing merges.
        prevent_cse=not repeated,
        policy=jax.checkpoint_policies.dots_saveable if choice is Checkpointing.PRODUCTS else None,
    )
    if repeated and not has_loop(jaxpr):
        # One turn is one block.
        run_piece(jaxpr.eqns, _results(jaxpr), values, wrap)
        return values.read(jaxpr.outvars)
    chain = _chain(jaxpr)
    places = cuts.fewest_bytes(chain) if choice is Checkpointing.SQRT else cuts.narrow(chain)
    for start, end in itertools.pairwise(places):
        equations = jaxpr.eqns[start:end]
        if len(equations) == 1 and equations[0].primitive.name in LOOPS:
            run_loop(equations[0], values, choice, functools.partial(run_jaxpr, repeated=True))
        else:
            # The backward pass begins with the last segment: what that has made is there still.
            last = end == len(jaxpr.eqns) and not repeated
            run_piece(equations, _used_later(jaxpr, start, end), values, (lambda one: one) if last else wrap)
    return values.read(jaxpr.outvars)


def _results(jaxpr: core.Jaxpr) -> list[core.Var]:
    return _used_later(jaxpr, 0, len(jaxpr.eqns))


def _used_later(jaxpr: core.Jaxpr, start: int, end: int) -> list[core.Var]:
    """What the equations from `start` to `end` make for those after them."""
    later = {atom for equation in jaxpr.eqns[end:] for atom in equation.invars if isinstance(atom, core.Var)}
    later |= {atom for atom in jaxpr.outvars if isinstance(atom, core.Var)}
    return [one for equation in jaxpr.eqns[start:end] for one in kept_outputs(equation) if one in later]


def _chain(jaxpr: core.Jaxpr) -> cuts.Chain:
    count = len(jaxpr.eqns)
    by: dict[core.Var, int] = {}
    last_use: dict[core.Var, int] = {}
    for number, equation in enumerate(jaxpr.eqns):
        for atom in equation.invars:
            if isinstance(atom, core.Var) and atom in by:
                last_use[atom] = number
        by.update(dict.fromkeys(kept_outputs(equation), number))
    for atom in jaxpr.outvars:
        if isinstance(atom, core.Var) and atom in by:
            last_use[atom] = count
    return cuts.Chain(
        work=[_work(equation) for equation in jaxpr.eqns],
        made=[cuts.Made(by[one], last, nbytes(one)) for one, last in last_use.items()],
        products=frozenset(number for number, one in enumerate(jaxpr.eqns) if is_product(one)),
        loops=frozenset(number for number, one in enumerate(jaxpr.eqns) if one.primitive.name in LOOPS),
    )


def _work(equation: Equation) -> int:
    return 0 if equation.primitive.name in _MOVES else sum(nbytes(one) for one in kept_outputs(equation))

"""Jaxprs as what they are here: chains of equations that can be cut, run in pieces and looked into."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

import jax
from jax.extend import core

Equation: TypeAlias = core.JaxprEqn
# A variable of a jaxpr, or a constant written in its place.
Atom: TypeAlias = core.Var | core.Literal

_PRODUCTS = frozenset({"dot_general", "conv_general_dilated", "ragged_dot", "ragged_dot_general", "call_exported"})
LOOPS = frozenset({"scan"})
# What convolves, or may: a function that was exported cannot be looked into.
_CONVOLUTIONS = frozenset({"conv_general_dilated", "call_exported"})


class Values:
    """What the variables of a jaxpr stand for while it runs."""

    def __init__(self, jaxpr: core.Jaxpr, constants: Sequence[Any], arguments: Sequence[Any]) -> None:
        self._values: dict[core.Var, Any] = dict(zip(jaxpr.constvars, constants, strict=True))
        self._values |= dict(zip(jaxpr.invars, arguments, strict=True))

    def read(self, atoms: Sequence[Atom]) -> list[Any]:
        """Values of `atoms`."""
        return [atom.val if isinstance(atom, core.Literal) else self._values[atom] for atom in atoms]

    def write(self, variables: Sequence[core.Var], values: Sequence[Any]) -> None:
        """Sets what `variables` stand for."""
        self._values.update(zip(variables, values, strict=True))


def traced(function: Callable[..., Any], arguments: Sequence[Any]) -> tuple[core.ClosedJaxpr, Any]:
    """`function` of trees of arrays as a jaxpr of their leaves, and the structure of its result."""
    closed, form = jax.make_jaxpr(function, return_shape=True)(*arguments)
    return closed, jax.tree.structure(form)


def forms(closed: core.ClosedJaxpr) -> list[jax.ShapeDtypeStruct]:
    """What `closed` takes."""
    return [jax.ShapeDtypeStruct(one.shape, one.dtype, weak_type=one.weak_type) for one in closed.in_avals]


def piece(equations: Sequence[Equation], outputs: Sequence[core.Var]) -> tuple[list[core.Var], core.ClosedJaxpr]:
    """`equations` as a jaxpr of its own that gives `outputs`; and the variables that it takes."""
    made: set[core.Var] = set()
    taken: dict[core.Var, None] = {}
    effects = core.no_effects
    for equation in equations:
        for atom in equation.invars:
            if isinstance(atom, core.Var) and atom not in made:
                taken[atom] = None
        made.update(equation.outvars)
        effects = effects | equation.effects
    inputs = list(taken)
    names = core.DebugInfo("piece", "", ("",) * len(inputs), ("",) * len(outputs))
    jaxpr = core.Jaxpr((), inputs, list(outputs), list(equations), effects, debug_info=names)
    return inputs, core.ClosedJaxpr(jaxpr, ())


def run_piece(
    equations: Sequence[Equation],
    outputs: Sequence[core.Var],
    values: Values,
    wrap: Callable[[Callable[..., Any]], Callable[..., Any]] = lambda function: function,
) -> None:
    """Runs `equations` on `values`, `wrap` around them, and leaves `outputs` there."""
    inputs, closed = piece(equations, outputs)
    values.write(outputs, wrap(core.jaxpr_as_fun(closed))(*values.read(inputs)))


def kept_outputs(equation: Equation) -> list[core.Var]:
    """The results of an equation that have a name."""
    return [variable for variable in equation.outvars if not isinstance(variable, core.DropVar)]


def inner(equation: Equation) -> Iterator[core.Jaxpr]:
    """The jaxprs that an equation holds."""
    return iter(core.jaxprs_in_params(equation.params))


def is_product(equation: Equation) -> bool:
    """Whether it multiplies matrices or convolves, itself or inside."""
    if equation.primitive.name in _PRODUCTS:
        return True
    return any(is_product(one) for jaxpr in inner(equation) for one in jaxpr.eqns)


def has_convolution(jaxpr: core.Jaxpr) -> bool:
    """Whether it convolves, itself or inside."""
    return any(
        equation.primitive.name in _CONVOLUTIONS or any(has_convolution(one) for one in inner(equation))
        for equation in jaxpr.eqns
    )


def has_loop(jaxpr: core.Jaxpr) -> bool:
    """Whether it holds a loop."""
    return any(
        equation.primitive.name in LOOPS or any(has_loop(one) for one in inner(equation)) for equation in jaxpr.eqns
    )


def nbytes(atom: Atom) -> int:
    """Bytes of a value; 0 for what has none, such as a random key."""
    aval: Any = atom.aval
    itemsize = getattr(getattr(aval, "dtype", None), "itemsize", 0)
    return math.prod(getattr(aval, "shape", ())) * int(itemsize)


def inlined(closed: core.ClosedJaxpr) -> core.ClosedJaxpr:
    """`closed` without calls around what is worth cutting: loops and products."""
    if not any(_hides(equation) for equation in closed.jaxpr.eqns):
        return closed

    def run(*arguments: Any) -> list[Any]:
        values = Values(closed.jaxpr, closed.consts, arguments)
        for equation in closed.jaxpr.eqns:
            if _hides(equation):
                results = core.jaxpr_as_fun(equation.params["jaxpr"])(*values.read(equation.invars))
                values.write(equation.outvars, results)
            else:
                run_piece([equation], kept_outputs(equation), values)
        return values.read(closed.jaxpr.outvars)

    return inlined(jax.make_jaxpr(run)(*forms(closed)))


def _hides(equation: Equation) -> bool:
    if equation.primitive.name not in {"jit", "pjit"}:
        return False
    jaxpr: core.Jaxpr = equation.params["jaxpr"].jaxpr
    return has_loop(jaxpr) or sum(is_product(one) for one in jaxpr.eqns) > 1

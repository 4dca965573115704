"""Which results of a function depend on its arguments at all, as its graph tells and not its numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jax.extend import core


def depends(jaxpr: core.Jaxpr, arguments: Sequence[bool]) -> list[bool]:
    """For each result of `jaxpr`, whether a path leads to it from an argument that is marked."""
    marked = {variable for variable, is_marked in zip(jaxpr.invars, arguments, strict=True) if is_marked}
    for equation in jaxpr.eqns:
        given = [_is_marked(one, marked) for one in equation.invars]
        if any(given):
            results = _results(equation, given)
            marked |= {variable for variable, reached in zip(equation.outvars, results, strict=True) if reached}
    return [_is_marked(one, marked) for one in jaxpr.outvars]


def _is_marked(one: Any, marked: set[Any]) -> bool:
    return not isinstance(one, core.Literal) and one in marked


def _results(equation: Any, given: list[bool]) -> list[bool]:
    name, parameters = equation.primitive.name, equation.params
    if name == "scan":
        constants, carries = parameters["num_consts"], parameters["num_carry"]
        return _loop(parameters["jaxpr"].jaxpr, given, constants, carries)
    if name == "while":
        skipped, constants = parameters["cond_nconsts"], parameters["body_nconsts"]
        kept = given[skipped:]
        return _loop(parameters["body_jaxpr"].jaxpr, kept, constants, len(kept) - constants)
    if name == "cond":
        branches = [depends(branch.jaxpr, given[1:]) for branch in parameters["branches"]]
        return [any(reached) for reached in zip(*branches, strict=True)]
    inner = [value for value in parameters.values() if isinstance(value, core.Jaxpr | core.ClosedJaxpr)]
    if len(inner) == 1:
        body: Any = getattr(inner[0], "jaxpr", inner[0])
        if len(body.invars) == len(given) and len(body.outvars) == len(equation.outvars):
            return depends(body, given)
    return [True] * len(equation.outvars)


def _loop(body: core.Jaxpr, given: list[bool], constants: int, carries: int) -> list[bool]:
    """What is carried can be reached in a later turn: marks are carried on until no new one comes."""
    while True:
        results = depends(body, given)
        carried = [
            before or after
            for before, after in zip(given[constants : constants + carries], results[:carries], strict=True)
        ]
        if carried == given[constants : constants + carries]:
            return [*carried, *results[carries:]]
        given = [*given[:constants], *carried, *given[constants + carries :]]

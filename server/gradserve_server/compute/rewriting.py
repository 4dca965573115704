"""Finished programs with some of their equations replaced, wherever these are: in loops, branches and calls too."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias, TypeVar

import jax
from jax.extend import core

from gradserve_server.compute.jaxprs import Equation, Values, forms, inner, kept_outputs, run_piece, traced

Result = TypeVar("Result")
# Runs a jaxpr, its equations replaced as well.
Run: TypeAlias = Callable[[core.ClosedJaxpr, Sequence[Any]], list[Any]]


@dataclasses.dataclass(frozen=True)
class Rule:
    """What to replace, and by what.

    Attributes:
        matches: whether an equation is to be replaced.
        results: its results, given the equation, its operands, and how to run a jaxpr that it holds.
    """

    matches: Callable[[Equation], bool]
    results: Callable[[Equation, list[Any], Run], Sequence[Any]]


def rewritten(function: Callable[..., Result], rules: Sequence[Rule]) -> Callable[..., Result]:
    """`function` of trees of arrays, to be compiled and not to be differentiated any more."""
    if not rules:
        return function

    def run(*arguments: Any) -> Result:
        closed, form = traced(function, arguments)
        restored: Result = jax.tree.unflatten(form, _Rewriting(rules).run(closed, jax.tree.leaves(arguments)))
        return restored

    return run


@dataclasses.dataclass(frozen=True)
class _Rewriting:
    rules: Sequence[Rule]

    def run(self, closed: core.ClosedJaxpr, arguments: Sequence[Any]) -> list[Any]:
        values = Values(closed.jaxpr, closed.consts, arguments)
        for equation in closed.jaxpr.eqns:
            rule = self._rule(equation)
            if rule is not None:
                values.write(equation.outvars, rule.results(equation, values.read(equation.invars), self.run))
            elif self._holds(equation):
                run_piece([self._with_inner(equation)], kept_outputs(equation), values)
            else:
                run_piece([equation], kept_outputs(equation), values)
        return values.read(closed.jaxpr.outvars)

    def _rule(self, equation: Equation) -> Rule | None:
        return next((rule for rule in self.rules if rule.matches(equation)), None)

    def _holds(self, equation: Equation) -> bool:
        """Whether there is something to replace inside."""
        return any(self._rule(one) or self._holds(one) for jaxpr in inner(equation) for one in jaxpr.eqns)

    def _with_inner(self, equation: Equation) -> Equation:
        def rewrite(value: Any) -> Any:
            if isinstance(value, core.ClosedJaxpr):
                return jax.make_jaxpr(lambda *given: self.run(value, given))(*forms(value))
            if isinstance(value, core.Jaxpr):
                return rewrite(core.ClosedJaxpr(value, ())).jaxpr
            return tuple(rewrite(one) for one in value) if isinstance(value, tuple) else value

        changed: Equation = equation.replace(params={name: rewrite(value) for name, value in equation.params.items()})
        return changed

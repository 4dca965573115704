"""Plans: which parts of which values an equation or a jaxpr needs for what is wanted of it, and how to compute that."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias, final

import jax
import jax.numpy as jnp
from jax import lax
from jax.extend import core

from gradserve_server.compute.rows.analysis import Analysis, read
from gradserve_server.compute.rows.layout import Form, Mixing, Rows, State, node_of
from gradserve_server.compute.rows.rules import ELEMENTWISE, aligned, shape_of

# A value of an equation or jaxpr: its number among operands or results, and whether it is taken whole (None) or in the
# part that belongs to the examples.
Place: TypeAlias = tuple[int, Form]


class InseparableError(Exception):
    """Part of the batch cannot be computed alone; `mixing` says why."""

    def __init__(self, mixing: Mixing) -> None:
        self.mixing = mixing
        super().__init__(str(mixing))


@dataclasses.dataclass(frozen=True)
class Plan:
    """How to compute what is wanted.

    Attributes:
        needs: what `run` takes, in order.
        run: from the first example of the part and the values needed to the values wanted.
    """

    needs: tuple[Place, ...]
    run: Callable[[jax.Array, Sequence[jax.Array]], Sequence[jax.Array]]


# Of an equation that holds other jaxprs: its plan for the results wanted.
Nested = Callable[["Planner", Any, Sequence[State], Sequence[Place], Mixing], Plan]


def take(array: jax.Array, rows: Rows, examples: int, start: jax.Array, size: int) -> jax.Array:
    """The part of `array` that belongs to the `size` examples from `start` on."""
    shape, axis = array.shape, rows.axis
    divided = array.reshape(*shape[:axis], rows.outer, examples, rows.inner, *shape[axis + 1 :])
    cut = lax.dynamic_slice_in_dim(divided, start, size, axis + 1)
    return cut.reshape(*shape[:axis], rows.size(size), *shape[axis + 1 :])


def join_parts(stacks: Sequence[tuple[jax.Array, int]], rows: Rows) -> jax.Array:
    """The array of which `take` gave parts, each with all of its neighbours.

    Args:
        stacks: parts of one size stacked along a new first axis, and that size; in order of their examples.
        rows: where examples lie in each part, and in the whole.
    """
    pieces = []
    for stack, size in stacks:
        parts, shape, axis = stack.shape[0], stack.shape[1:], rows.axis
        divided = stack.reshape(parts, *shape[:axis], rows.outer, size, rows.inner, *shape[axis + 1 :])
        moved = jnp.moveaxis(divided, 0, axis + 1)
        pieces.append(moved.reshape(*shape[:axis], rows.outer, parts * size, rows.inner, *shape[axis + 1 :]))
    whole = jnp.concatenate(pieces, rows.axis + 1)
    before, after = whole.shape[: rows.axis], whole.shape[rows.axis + 3 :]
    return whole.reshape(*before, rows.size(whole.shape[rows.axis + 1]), *after)


def results_of(equation: Any, operands: Sequence[Any], parameters: Mapping[str, Any]) -> Sequence[jax.Array]:
    """What an equation gives for these operands."""
    primitive = equation.primitive
    with jax.named_scope(str(equation.source_info.name_stack) or primitive.name):
        found = primitive.bind(*operands, **primitive.get_bind_params(parameters))
    return found if primitive.multiple_results else [found]


@final
class Planner:
    """Makes plans for one division of the batch."""

    def __init__(self, examples: int, size: int, nested: Mapping[str, Nested]) -> None:
        self.analysis = Analysis(examples)
        self._examples = examples
        self._size = size
        self._nested = nested

    def cut(self, value: jax.Array, form: Form, start: jax.Array) -> jax.Array:
        """The part of a whole value."""
        return value if form is None else take(value, form, self._examples, start, self._size)

    def body(
        self,
        jaxpr: core.Jaxpr,
        constants: Sequence[Any],
        inputs: tuple[State, ...],
        wanted: Sequence[Place],
        outer: str,
    ) -> Plan:
        """Plan of a jaxpr, made from its end, so that nothing is computed that nothing needs."""
        states = self.analysis.states(jaxpr, inputs, outer)
        needed: dict[Any, dict[Form, None]] = {}

        def need(atom: Any, form: Form) -> None:
            if not isinstance(atom, core.Literal):
                needed.setdefault(atom, {})[form] = None

        for index, form in wanted:
            need(jaxpr.outvars[index], form)
        steps: list[tuple[Any, Sequence[Place], Plan]] = []
        for equation in reversed(jaxpr.eqns):
            asked = [(index, form) for index, one in enumerate(equation.outvars) for form in needed.get(one, ())]
            if not asked:
                continue
            plan = self._equation(equation, [read(states, one) for one in equation.invars], asked, outer)
            for index, form in plan.needs:
                need(equation.invars[index], form)
            steps.append((equation, asked, plan))
        needs = tuple((index, form) for index, one in enumerate(jaxpr.invars) for form in needed.get(one, ()))
        held = dict(zip(jaxpr.constvars, constants, strict=True))

        def run(start: jax.Array, values: Sequence[jax.Array]) -> Sequence[jax.Array]:
            known = {(jaxpr.invars[index], form): value for (index, form), value in zip(needs, values, strict=True)}
            for one, value in held.items():
                known |= {(one, form): self.cut(jnp.asarray(value), form, start) for form in needed.get(one, ())}

            def value_of(atom: Any, form: Form) -> jax.Array:
                return _constant(atom) if isinstance(atom, core.Literal) else known[atom, form]

            for equation, asked, plan in reversed(steps):
                found = plan.run(start, [value_of(equation.invars[index], form) for index, form in plan.needs])
                for (index, form), value in zip(asked, found, strict=True):
                    known[equation.outvars[index], form] = value
            return [value_of(jaxpr.outvars[index], form) for index, form in wanted]

        return Plan(needs, run)

    def whole(self, equation: Any, asked: Sequence[Place]) -> Plan:
        """An equation that depends on no example, computed whole and cut where a part of it is asked for."""

        def run(start: jax.Array, values: Sequence[jax.Array]) -> Sequence[jax.Array]:
            found = results_of(equation, values, equation.params)
            return [self.cut(found[index], form, start) for index, form in asked]

        return Plan(tuple((index, None) for index in range(len(equation.invars))), run)

    def _equation(self, equation: Any, states: Sequence[State], asked: Sequence[Place], outer: str) -> Plan:
        name = equation.primitive.name
        place = Mixing(node_of(equation, outer), name)
        if name in self._nested:
            return self._nested[name](self, equation, states, asked, place)
        forms = separate(states)
        if all(form is None for form in forms):
            return self._shared(equation, asked)
        step = self.analysis.step(equation, forms)
        if step is None:
            raise InseparableError(place)
        return _bound(equation, step.operands, {**equation.params, **step.parameters(self._size)}, asked)

    def _shared(self, equation: Any, asked: Sequence[Place]) -> Plan:
        """An equation that depends on no example: the part that is asked for, where that can be computed alone."""
        name, parameters = equation.primitive.name, equation.params
        form = asked[0][1]
        if form is None or len(asked) > 1:
            return self.whole(equation, asked)
        if name in ELEMENTWISE:
            return _bound(equation, aligned(equation, form), parameters, asked)
        if name == "broadcast_in_dim":
            sizes, axes = parameters["shape"], parameters["broadcast_dimensions"]
            before: Form = None
            if form.axis in axes:
                own = form.on(axes.index(form.axis))
                before = own if shape_of(equation.invars[0])[own.axis] != 1 else None
            shape = (*sizes[: form.axis], form.size(self._size), *sizes[form.axis + 1 :])
            return _bound(equation, (before,), {**parameters, "shape": shape}, asked)
        return self.whole(equation, asked)


def separate(states: Sequence[State]) -> list[Form]:
    """States that are known to keep examples apart.

    Raises:
        InseparableError: one does not.
    """
    forms: list[Form] = []
    for state in states:
        if isinstance(state, Mixing):
            raise InseparableError(state)
        forms.append(state)
    return forms


def _bound(equation: Any, operands: Sequence[Form], parameters: Mapping[str, Any], asked: Sequence[Place]) -> Plan:
    def run(_start: jax.Array, values: Sequence[jax.Array]) -> Sequence[jax.Array]:
        found = results_of(equation, values, parameters)
        return [found[index] for index, _ in asked]

    return Plan(tuple(enumerate(operands)), run)


def _constant(literal: Any) -> Any:
    """A literal as an array of its own type: as a Python number it would be of none."""
    return jnp.asarray(literal.val, literal.aval.dtype)

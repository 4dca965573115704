"""Plans of equations that hold other jaxprs: calls, loops, choices, and functions with derivatives of their own."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from gradserve_server.compute.rows.analysis import CALLS, inner_jaxpr
from gradserve_server.compute.rows.layout import Form, Mixing, State
from gradserve_server.compute.rows.plan import InseparableError, Nested, Place, Plan, Planner, separate


def _call(planner: Planner, equation: Any, states: Sequence[State], asked: Sequence[Place], place: Mixing) -> Plan:
    called = equation.params[CALLS[equation.primitive.name]]
    constants = getattr(called, "consts", ())
    plan = planner.body(inner_jaxpr(called), constants, tuple(states), asked, place.node)
    if equation.primitive.name != "remat2":
        return plan

    def run(start: jax.Array, values: Sequence[jax.Array]) -> Sequence[jax.Array]:
        again = jax.checkpoint(
            lambda start, values: list(plan.run(start, values)),
            policy=equation.params["policy"],
            prevent_cse=equation.params["prevent_cse"],
        )
        found: Sequence[jax.Array] = again(start, list(values))
        return found

    return Plan(plan.needs, run)


def _scan(planner: Planner, equation: Any, states: Sequence[State], asked: Sequence[Place], place: Mixing) -> Plan:
    if all(state is None for state in states):
        return planner.whole(equation, asked)
    parameters = equation.params
    first, count = parameters["num_consts"], parameters["num_carry"]
    body = parameters["jaxpr"]
    inside = planner.analysis.scan_states(equation, states, place.node)
    carry = separate(inside[first : first + count])
    # What is asked of the stacked results, as the body sees it: a part along the axis of turns is cut afterwards.
    stacked = [
        (index, form.on(form.axis - 1) if form is not None and form.axis else None)
        for index, form in asked
        if index >= count
    ]
    plan = planner.body(inner_jaxpr(body), body.consts, inside, [*enumerate(carry), *stacked], place.node)
    constants = [one for one in plan.needs if one[0] < first]
    layers = [one for one in plan.needs if one[0] >= first + count]
    needs = (
        *constants,
        *((first + index, form) for index, form in enumerate(carry)),
        *((index, None if form is None else form.on(form.axis + 1)) for index, form in layers),
    )

    def run(start: jax.Array, values: Sequence[jax.Array]) -> Sequence[jax.Array]:
        fixed = dict(zip(constants, values[: len(constants)], strict=True))

        def turn(
            state: tuple[jax.Array, ...], layer: tuple[jax.Array, ...]
        ) -> tuple[tuple[jax.Array, ...], tuple[jax.Array, ...]]:
            of_layer = dict(zip(layers, layer, strict=True))
            found = plan.run(
                start, [_inside(planner, one, fixed, of_layer, state, carry, first, start) for one in plan.needs]
            )
            return tuple(found[:count]), tuple(found[count:])

        last, turns = lax.scan(
            turn,
            tuple(values[len(constants) : len(constants) + count]),
            tuple(values[len(constants) + count :]),
            length=parameters["length"],
            reverse=parameters["reverse"],
            unroll=parameters["unroll"],
        )
        rest = iter(turns)
        found = []
        for index, form in asked:
            if index < count:
                found.append(last[index] if form == carry[index] else planner.cut(last[index], form, start))
            else:
                value = next(rest)
                found.append(planner.cut(value, form, start) if form is not None and not form.axis else value)
        return found

    return Plan(needs, run)


def _inside(
    planner: Planner,
    place: Place,
    fixed: Mapping[Place, jax.Array],
    of_layer: Mapping[Place, jax.Array],
    carried: Sequence[jax.Array],
    carry: Sequence[Form],
    first: int,
    start: jax.Array,
) -> jax.Array:
    """What the body of a loop needs, from wherever it comes."""
    index, form = place
    if place in fixed:
        return fixed[place]
    if place in of_layer:
        return of_layer[place]
    value = carried[index - first]
    return value if form == carry[index - first] else planner.cut(value, form, start)


def _while(planner: Planner, equation: Any, states: Sequence[State], asked: Sequence[Place], place: Mixing) -> Plan:
    if all(state is None for state in states):
        return planner.whole(equation, asked)
    parameters = equation.params
    split = parameters["cond_nconsts"]
    first = split + parameters["body_nconsts"]
    carry = separate(planner.analysis.while_states(equation, states, place.node))
    goes_on, body = parameters["cond_jaxpr"], parameters["body_jaxpr"]
    (decision,) = separate(planner.analysis.outputs(inner_jaxpr(goes_on), (*states[:split], *carry), place.node))
    of_decision = planner.body(
        inner_jaxpr(goes_on), goes_on.consts, (*states[:split], *carry), [(0, decision)], place.node
    )
    of_body = planner.body(
        inner_jaxpr(body), body.consts, (*states[split:first], *carry), list(enumerate(carry)), place.node
    )
    fixed_decision = [one for one in of_decision.needs if one[0] < split]
    fixed_body = [one for one in of_body.needs if one[0] < first - split]
    needs = (
        *fixed_decision,
        *((split + index, form) for index, form in fixed_body),
        *((first + index, form) for index, form in enumerate(carry)),
    )

    def run(start: jax.Array, values: Sequence[jax.Array]) -> Sequence[jax.Array]:
        places = len(fixed_decision), len(fixed_decision) + len(fixed_body)
        decides = dict(zip(fixed_decision, values[: places[0]], strict=True))
        fixed = dict(zip(fixed_body, values[places[0] : places[1]], strict=True))

        def decide(state: tuple[jax.Array, ...]) -> jax.Array:
            given = [_inside(planner, one, decides, {}, state, carry, split, start) for one in of_decision.needs]
            return of_decision.run(start, given)[0]

        def turn(state: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
            given = [_inside(planner, one, fixed, {}, state, carry, first - split, start) for one in of_body.needs]
            return tuple(of_body.run(start, given))

        last = lax.while_loop(decide, turn, tuple(values[places[1] :]))
        return [last[index] if form == carry[index] else planner.cut(last[index], form, start) for index, form in asked]

    return Plan(needs, run)


def _cond(planner: Planner, equation: Any, states: Sequence[State], asked: Sequence[Place], place: Mixing) -> Plan:
    if states[0] is not None:
        raise InseparableError(states[0] if isinstance(states[0], Mixing) else place)
    plans = [
        planner.body(inner_jaxpr(branch), branch.consts, tuple(states[1:]), asked, place.node)
        for branch in equation.params["branches"]
    ]
    operands = list(dict.fromkeys(one for plan in plans for one in plan.needs))

    def run(start: jax.Array, values: Sequence[jax.Array]) -> Sequence[jax.Array]:
        def branch(plan: Plan) -> Callable[..., list[jax.Array]]:
            def chosen(start: jax.Array, *given: jax.Array) -> list[jax.Array]:
                known = dict(zip(operands, given, strict=True))
                return list(plan.run(start, [known[one] for one in plan.needs]))

            return chosen

        found: Sequence[jax.Array] = lax.switch(values[0], [branch(plan) for plan in plans], start, *values[1:])
        return found

    return Plan(((0, None), *((index + 1, form) for index, form in operands)), run)


def _custom_jvp(
    planner: Planner, equation: Any, states: Sequence[State], asked: Sequence[Place], place: Mixing
) -> Plan:
    """A function with a rule for its tangents, such as that of relu at 0, which is kept."""
    if all(state is None for state in states):
        return planner.whole(equation, asked)
    forms = separate(states)
    called = equation.params["call_jaxpr"]
    plan = planner.body(inner_jaxpr(called), called.consts, tuple(forms), asked, place.node)
    # What the rule will need is known only when it is used, as it may use the function itself.
    operands = list(dict.fromkeys([*plan.needs, *enumerate(forms)]))

    @jax.custom_jvp
    def function(start: jax.Array, *values: jax.Array) -> list[jax.Array]:
        known = dict(zip(operands, values, strict=True))
        return list(plan.run(start, [known[one] for one in plan.needs]))

    @function.defjvp
    def derivative(values: tuple[Any, ...], tangents: tuple[Any, ...]) -> tuple[list[jax.Array], list[Any]]:
        known, moved = (dict(zip(operands, one[1:], strict=True)) for one in (values, tangents))
        return _derivative(planner, equation, forms, asked, place, values[0], known, moved)

    return Plan(tuple(operands), lambda start, values: function(start, *values))


def _derivative(
    planner: Planner,
    equation: Any,
    forms: Sequence[Form],
    asked: Sequence[Place],
    place: Mixing,
    start: jax.Array,
    known: Mapping[Place, jax.Array],
    moved: Mapping[Place, jax.Array],
) -> tuple[list[jax.Array], list[Any]]:
    """Results of a function with a rule, and their tangents by it."""
    skipped = equation.params["num_consts"]
    primals = equation.invars[skipped:]
    moving = [jnp.issubdtype(one.aval.dtype, jnp.inexact) for one in primals]
    rule, constants, still = equation.params["jvp_jaxpr_fun"].call_wrapped(*(not one for one in moving))
    # It takes all operands, then the tangents of those that have some, and gives its results likewise.
    sources = [*((index, known) for index in range(skipped, len(forms)))]
    sources += [(skipped + index, moved) for index, moves in enumerate(moving) if moves]
    places = itertools.count(len(still))
    tangents = {index: next(places) for index, zero in enumerate(still) if not zero}
    wanted = [*asked, *((tangents[index], form) for index, form in asked if index in tangents)]
    plan = planner.body(rule, constants, tuple(forms[index] for index, _ in sources), wanted, place.node)
    given = []
    for number, form in plan.needs:
        index, values = sources[number]
        given.append(values[index, form] if (index, form) in values else planner.cut(values[index, None], form, start))
    found = list(plan.run(start, given))
    results, rest = found[: len(asked)], iter(found[len(asked) :])
    return results, [
        next(rest) if index in tangents else jnp.zeros_like(result)
        for (index, _), result in zip(asked, results, strict=True)
    ]


def _custom_vjp(
    planner: Planner, equation: Any, states: Sequence[State], asked: Sequence[Place], place: Mixing
) -> Plan:
    """A function with a backward pass of its own, which is written for the whole batch and cannot be cut."""
    if all(state is None for state in states):
        return planner.whole(equation, asked)
    raise InseparableError(place)


NESTED: Mapping[str, Nested] = {
    **dict.fromkeys(CALLS, _call),
    "scan": _scan,
    "while": _while,
    "cond": _cond,
    "custom_jvp_call": _custom_jvp,
    "custom_vjp_call": _custom_vjp,
}

"""Which outputs of a program depend on each example alone, and what mixes the others.

Works on jaxprs, and so on whatever a network was written in. What it does not know mixes: it never says of a program
that keeps its examples apart what is not so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, final

from jax.extend import core

from gradserve_server.compute.rows.indexing import INDEXING
from gradserve_server.compute.rows.layout import Form, Mixing, Rows, State, join, node_of
from gradserve_server.compute.rows.rules import RULES, Step

_RULES = {**RULES, **INDEXING}

# Primitives that call one jaxpr, and the parameter that holds it.
CALLS: Mapping[str, str] = {
    "jit": "jaxpr",
    "closed_call": "call_jaxpr",
    "remat2": "jaxpr",
    "custom_jvp_call": "call_jaxpr",
    "custom_vjp_call": "call_jaxpr",
}


def find_rows(program: core.ClosedJaxpr, inputs: Sequence[Form], examples: int) -> list[State]:
    """For each output of `program`, where its examples lie, None if it depends on none, or what mixes them.

    Args:
        program: the program.
        inputs: for each input, where its examples lie; None for what is the same for all.
        examples: how many there are. One alone is mixed with none: what more would mix is None.
    """
    states = Analysis(examples).outputs(program.jaxpr, tuple(inputs))
    return [None if examples == 1 and isinstance(state, Mixing) else state for state in states]


def find_mixing(program: core.ClosedJaxpr, inputs: Sequence[Form], examples: int) -> Mixing | None:
    """What mixes the examples in the first output that does not keep them apart; None if all do.

    An output that depends on no example, such as a penalty on the parameters, keeps them apart.
    """
    mixed = (state for state in find_rows(program, inputs, examples) if isinstance(state, Mixing))
    return next(mixed, None)


def inner_jaxpr(value: Any) -> core.Jaxpr:
    """A jaxpr, closed or not, without its constants."""
    found: core.Jaxpr = value.jaxpr if isinstance(value, core.ClosedJaxpr) else value
    return found


@final
class Analysis:
    """What is known of the values of jaxprs, each looked at once for each state of its inputs."""

    def __init__(self, examples: int) -> None:
        self.examples = examples
        # The jaxpr is held so that no other gets its id.
        self._known: dict[tuple[int, tuple[State, ...], str], tuple[core.Jaxpr, Mapping[Any, State]]] = {}

    def outputs(self, jaxpr: core.Jaxpr, inputs: tuple[State, ...], outer: str = "") -> list[State]:
        """States of the outputs."""
        states = self.states(jaxpr, inputs, outer)
        return [read(states, one) for one in jaxpr.outvars]

    def states(self, jaxpr: core.Jaxpr, inputs: tuple[State, ...], outer: str = "") -> Mapping[Any, State]:
        """States of all variables; those that are missing depend on no example.

        Args:
            jaxpr: the jaxpr.
            inputs: states of its inputs.
            outer: path of the node that it belongs to, if it is part of one.
        """
        key = (id(jaxpr), inputs, outer)
        if key not in self._known:
            found: dict[Any, State] = dict(zip(jaxpr.invars, inputs, strict=True))
            for equation in jaxpr.eqns:
                states = [read(found, one) for one in equation.invars]
                if any(state is not None for state in states):
                    found.update(zip(equation.outvars, self._equation(equation, states, outer), strict=True))
            self._known[key] = jaxpr, found
        return self._known[key][1]

    def _equation(self, equation: Any, states: Sequence[State], outer: str) -> Sequence[State]:
        name = equation.primitive.name
        place = Mixing(node_of(equation, outer), name)
        if name in CALLS:
            return self.outputs(inner_jaxpr(equation.params[CALLS[name]]), tuple(states), place.node)
        if name in _CONTROL:
            return _CONTROL[name](self, equation, states, place)
        mixed = next((state for state in states if isinstance(state, Mixing)), None)
        if mixed is None:
            step = self.step(equation, [state for state in states if not isinstance(state, Mixing)])
            if step is not None:
                return step.outputs
        return (mixed or place,) * len(equation.outvars)

    def step(self, equation: Any, states: Sequence[Form]) -> Step | None:
        """How an equation keeps examples apart; None where it mixes them or is not known."""
        rule = _RULES.get(equation.primitive.name)
        return None if rule is None else rule(equation, states, self.examples)

    def scan_states(self, equation: Any, states: Sequence[State], outer: str) -> tuple[State, ...]:
        """States of the inputs of a scan's body that hold for all of its turns."""
        parameters = equation.params
        first, count = parameters["num_consts"], parameters["num_carry"]
        body = inner_jaxpr(parameters["jaxpr"])
        place = Mixing(node_of(equation, outer), "scan")
        layers = tuple(_of_turn(state, place) for state in states[first + count :])
        carry = tuple(states[first : first + count])
        while True:
            inside = (*states[:first], *carry, *layers)
            left = self.outputs(body, inside, place.node)[:count]
            joined = tuple(join(before, after, place) for before, after in zip(carry, left, strict=True))
            if joined == carry:
                return inside
            carry = joined

    def while_states(self, equation: Any, states: Sequence[State], outer: str) -> tuple[State, ...]:
        """States of what a while loop carries that hold for all of its turns."""
        parameters = equation.params
        first = parameters["cond_nconsts"]
        start = first + parameters["body_nconsts"]
        body = inner_jaxpr(parameters["body_jaxpr"])
        place = Mixing(node_of(equation, outer), "while")
        carry = tuple(states[start:])
        while True:
            left = self.outputs(body, (*states[first:start], *carry), place.node)
            joined = tuple(join(before, after, place) for before, after in zip(carry, left, strict=True))
            if joined == carry:
                return carry
            carry = joined


def read(states: Mapping[Any, State], atom: Any) -> State:
    """State of a variable or literal."""
    return None if isinstance(atom, core.Literal) else states.get(atom)


def _of_turn(state: State, place: Mixing) -> State:
    """What a turn sees of an array that is scanned over its first axis."""
    if not isinstance(state, Rows):
        return state
    return place if state.axis == 0 else state.on(state.axis - 1)


def _scan(analysis: Analysis, equation: Any, states: Sequence[State], place: Mixing) -> Sequence[State]:
    inside = analysis.scan_states(equation, states, place.node)
    outputs = analysis.outputs(inner_jaxpr(equation.params["jaxpr"]), inside, place.node)
    count, first = equation.params["num_carry"], equation.params["num_consts"]
    stacked = [one.on(one.axis + 1) if isinstance(one, Rows) else one for one in outputs[count:]]
    return [*inside[first : first + count], *stacked]


def _while(analysis: Analysis, equation: Any, states: Sequence[State], place: Mixing) -> Sequence[State]:
    carry = analysis.while_states(equation, states, place.node)
    constants = tuple(states[: equation.params["cond_nconsts"]])
    (goes_on,) = analysis.outputs(inner_jaxpr(equation.params["cond_jaxpr"]), (*constants, *carry), place.node)
    return carry if goes_on is None else (goes_on,) * len(carry)


def _cond(analysis: Analysis, equation: Any, states: Sequence[State], place: Mixing) -> Sequence[State]:
    if states[0] is not None:
        return (states[0] if isinstance(states[0], Mixing) else place,) * len(equation.outvars)
    operands = tuple(states[1:])
    branches = [analysis.outputs(inner_jaxpr(one), operands, place.node) for one in equation.params["branches"]]
    found = list(branches[0])
    for other in branches[1:]:
        found = [join(a, b, place) for a, b in zip(found, other, strict=True)]
    return found


_CONTROL: Mapping[str, Callable[[Analysis, Any, Sequence[State], Mixing], Sequence[State]]] = {
    "scan": _scan,
    "while": _while,
    "cond": _cond,
}

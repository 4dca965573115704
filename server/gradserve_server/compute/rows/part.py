"""The program of some of a batch's examples, made of the program of the whole batch.

Each equation is computed on the part of its operands that belongs to these examples. What depends on no example is
computed whole, and cut where each example uses a part of its own of it (a dropout mask, numbers along the batch). So
each example sees exactly what it saw in the batch, for whatever shapes the program was traced.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import jax
from jax.extend import core
from jax.interpreters import partial_eval

from gradserve_server.compute.rows.layout import Form, Mixing
from gradserve_server.compute.rows.nested import NESTED
from gradserve_server.compute.rows.plan import InseparableError, Place, Planner

Part = Callable[[jax.Array, Sequence[jax.Array]], list[jax.Array]]


def part_of(program: core.ClosedJaxpr, inputs: Sequence[Form], examples: int, size: int) -> Part:
    """`program` for `size` of its `examples` alone.

    Args:
        program: the program of the whole batch.
        inputs: for each of its inputs, where examples lie; None for what is the same for all.
        examples: how many the batch has.
        size: how many the part has.

    Returns:
        A function of the first example of the part and the inputs, those with examples cut to the part (see `take`).
        It gives the outputs, cut alike.

    Raises:
        InseparableError: an output depends on other examples as well.
    """
    if size == examples:
        whole = core.jaxpr_as_fun(program)
        return lambda _start, values: list(whole(*values))
    jaxpr, used = partial_eval.dce_jaxpr(program.jaxpr, [True] * len(program.jaxpr.outvars))
    kept = [index for index, one in enumerate(used) if one]
    states = tuple(inputs[index] for index in kept)
    planner = Planner(examples, size, NESTED)
    wanted: list[Place] = []
    for index, state in enumerate(planner.analysis.outputs(jaxpr, states)):
        if isinstance(state, Mixing):
            raise InseparableError(state)
        wanted.append((index, state))
    plan = planner.body(jaxpr, program.consts, states, wanted, "")

    def function(start: jax.Array, values: Sequence[jax.Array]) -> list[jax.Array]:
        given = [
            values[kept[index]] if form == states[index] else planner.cut(values[kept[index]], form, start)
            for index, form in plan.needs
        ]
        return list(plan.run(start, given))

    return function

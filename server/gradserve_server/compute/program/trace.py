"""Forward and backward with every named value, its gradient, and statistics of both."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend import core

from gradserve_server.common.errors import Problem, Reason
from gradserve_server.common.tracing import TURN
from gradserve_server.compute.program.computation import (
    Arguments,
    Arrays,
    Computation,
    Evaluation,
    Results,
    loss_numbers,
)
from gradserve_server.compute.program.reachability import depends
from gradserve_server.compute.program.scaling import scaled, unscaled
from gradserve_server.compute.program.sites import Place, lay_out
from gradserve_server.compute.program.statistics import all_statistics, combine, rows_of
from gradserve_server.compute.tape import Record, Tape


@dataclasses.dataclass(frozen=True)
class Differentiated:
    """What the loss of a trace is a function of; trees of arrays by name.

    Attributes:
        parameters: all of them.
        inputs: the floating-point inputs.
        zeros: one for each floating-point value on the tape, stacked along the turns of repeated blocks.
    """

    parameters: Arrays
    inputs: Arrays
    zeros: Arrays


jax.tree_util.register_dataclass(Differentiated)


def takes_gradients(computation: Computation) -> bool:
    """Whether it takes the gradients that ComputeGradients gives: a trace, where it shows parameters whole.

    The same sums in another program may be rounded otherwise, and who compares should find no difference.
    """
    most = computation.spec.trace.whole_tensors_up_to
    parameters = computation.signature.parameters.values()
    return computation.spec.kind == "trace" and any(math.prod(one.shape[one.stacked :]) <= most for one in parameters)


def trace(computation: Computation, arguments: Arguments) -> Results:
    """The loss, and values, gradients and statistics in the places that the layout tells."""
    if computation.loss is not None and computation.loss.stacked:
        raise Problem(
            Reason.UNSUPPORTED_OPTION,
            "stacked cotangents have as many gradients as vectors, and a trace shows one",
            field="loss.cotangents.stacked",
            expected="false",
        )
    record, forms = look(computation, arguments)
    at = start(computation, arguments, record, forms)
    loss, pull, (found, values) = jax.vjp(
        lambda given: objective(computation, arguments, record, given), at, has_aux=True
    )
    start_of_way = scaled(jnp.ones_like(loss), arguments)
    backward = jax.make_jaxpr(pull)(start_of_way)
    tree = jax.tree.structure(at)
    reached: Differentiated = jax.tree.unflatten(tree, depends(backward.jaxpr, [True]))
    # The pass that was looked at is the one that is run.
    gradients: Differentiated = unscaled(jax.tree.unflatten(tree, core.jaxpr_as_fun(backward)(start_of_way)), arguments)
    connected: dict[str, Any] = {**reached.parameters, **reached.inputs, **reached.zeros}
    layout, places = lay_out(computation, record, connected)
    batch = {record.of_batch(name): array for name, array in arguments.batch.items()}
    every_value = {**batch, **arguments.parameters, **values}
    every_gradient = {**gradients.parameters, **gradients.inputs, **gradients.zeros, **arguments.gradients}
    arrays: dict[str, Arrays] = {
        "statistics": {"statistics": _statistics(places, every_value, every_gradient)},
        "value": {},
        "gradient": {},
    }
    sent = {one.name: one.dtype for one in (*computation.weights, *computation.spec.batch)}
    for place in places:
        name = place.source
        if place.site.whole:
            arrays["value"][name] = every_value[name].astype(sent.get(name, every_value[name].dtype))
            if place.site.gradient_row >= 0:
                arrays["gradient"][name] = every_gradient[name].astype(sent.get(name, every_gradient[name].dtype))
    assert found.loss is not None
    return Results(arrays, loss_numbers(found.loss), found, layout)


def look(computation: Computation, arguments: Arguments) -> tuple[Record, Mapping[str, jax.ShapeDtypeStruct]]:
    """What the network shows, and the form of each value, found out without computing anything."""
    record = Record()

    def values() -> Arrays:
        tape = Tape(record)
        computation.evaluate(arguments, tape)
        return tape.values

    return record, jax.eval_shape(values)


def start(computation: Computation, arguments: Arguments, record: Record, forms: Mapping[str, Any]) -> Differentiated:
    """The point at which gradients are taken."""
    batch = arguments.batch
    floating = [one.name for one in computation.network.inputs if jnp.issubdtype(one.dtype, jnp.floating)]
    return Differentiated(
        parameters={name: arguments.parameters[name] for name in computation.signature.parameters},
        inputs={name: batch[name].astype(computation.dtype) for name in floating},
        zeros={key: jnp.zeros(form.shape, form.dtype) for key, form in forms.items() if record.steps[key].has_gradient},
    )


def objective(
    computation: Computation, arguments: Arguments, record: Record, given: Differentiated, *, changes: bool = False
) -> tuple[jax.Array, tuple[Evaluation, Arrays]]:
    """The loss as a function of parameters, inputs and a change of each value, and the values.

    Args:
        computation: what is computed.
        arguments: its arrays; those in `given` take their place.
        record: where the tape leaves what it is shown.
        given: where.
        changes: whether `given.zeros` are added to the values, so that other numbers than 0 make a difference.
    """
    tape = Tape(record, given.zeros, changes=changes)
    moved = dataclasses.replace(
        arguments,
        parameters=arguments.parameters | given.parameters,
        batch=arguments.batch | given.inputs,
    )
    found = computation.evaluate(moved, tape)
    assert found.loss is not None
    return found.loss.loss, (found, tape.values)


def _statistics(places: list[Place], values: Arrays, gradients: Arrays) -> jax.Array:
    """The matrix of statistics: for each place, rows of its values, of their gradients, and of these step by step."""
    asked: list[jax.Array] = []
    later: dict[int, int] = {}
    parts: dict[tuple[str, bool], int] = {}
    order = []
    for place in places:
        site = place.site
        if site.row < 0:
            continue
        turns = len(site.within)
        for arrays in (values, gradients) if site.gradient_row >= 0 else (values,):
            key = (place.source, arrays is values)
            if site.key.endswith(TURN):
                order.append(parts[key])
                continue
            parts[key] = len(asked)
            asked.append(rows_of(arrays[place.source], place.parts or turns))
            if place.parts:
                later[len(order)] = math.prod(site.shape[place.parts :])
            order.append(parts[key])
        if site.time_row >= 0:
            order.append(len(asked))
            asked.append(rows_of(jnp.moveaxis(gradients[place.source], turns + site.time_axis, turns), turns + 1))
    tables = all_statistics(asked)
    return jnp.concatenate(
        [combine(tables[one], later[at]) if at in later else tables[one] for at, one in enumerate(order)]
    )

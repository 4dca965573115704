"""Which networks and losses can be computed on a padded batch: found on their traces at two sizes."""

from __future__ import annotations

from typing import Any

import jax
from jax.extend import core

from gradserve_server.common.errors import Problem, Reason
from gradserve_server.common.specs import ProgramSpec
from gradserve_server.compute import rows
from gradserve_server.compute.losses import Loss
from gradserve_server.compute.network import Network
from gradserve_server.compute.program.build import build
from gradserve_server.compute.program.computation import Arrays
from gradserve_server.compute.program.padding import Padding, examples_of, resized


def find_padding(spec: ProgramSpec, network: Network, loss: Loss | None, other: int | None = None) -> Padding:
    """Where the examples of a padded batch lie.

    Args:
        spec: of a padded batch.
        network: the network.
        loss: the loss, if there is one.
        other: number of examples to hold it against; neither divides the other. One more than it has if None.

    Raises:
        Problem: DEPENDENT_EXAMPLES where examples depend on each other or on how many there are; or what `build` finds.
    """
    examples = examples_of(spec)
    sizes = (examples, examples + 1 if other is None else other)
    (one, forms), (another, _) = (_traced(resized(spec, size), network, loss) for size in sizes)
    arrays = [*one.weights, *spec.batch, *spec.vectors]
    first = len(one.weights)
    own = [
        rows.Rows(0) if first <= index < first + len(spec.batch) and form.name not in spec.shared else None
        for index, form in enumerate(arrays)
    ]
    inputs: list[rows.Form] = [*own, None]
    states, twins = (
        rows.find_rows(each.program, inputs, size) for each, size in zip((one, another), sizes, strict=True)
    )
    for index, (state, twin) in enumerate(zip(states, twins, strict=True)):
        mixing = next((one for one in (state, twin) if isinstance(one, rows.Mixing)), None)
        # An axis may have as many elements as there are examples by chance.
        if mixing is not None or state != twin:
            raise _refusal(mixing or rows.Mixing("", "reshape"))
        shapes = [each.program.jaxpr.outvars[index].aval.shape for each in (one, another)]
        # Of as many rows as there are examples, and none of them an example's.
        if state is None and shapes[0] != shapes[1]:
            raise _refusal(rows.Mixing("", "broadcast_in_dim"))
    dependence = rows.find_size_dependence((one.program, another.program), sizes, inputs)
    if dependence is not None:
        raise _refusal(dependence)
    found: Any = jax.tree.unflatten(forms, range(len(states)))
    outputs, values, statistics = found
    if any(states[index] is not None for index in statistics.values()):
        raise _refusal(rows.Mixing("", "updated statistics"))
    return Padding(
        {name: _form(states[index]) for name, index in outputs.items()}, tuple(_form(states[index]) for index in values)
    )


def _form(state: rows.State) -> rows.Form:
    assert not isinstance(state, rows.Mixing)
    return state


class _Trace:
    def __init__(self, program: core.ClosedJaxpr, weights: Any) -> None:
        self.program = program
        self.weights = weights


def _traced(spec: ProgramSpec, network: Network, loss: Loss | None) -> tuple[_Trace, Any]:
    """The forward pass on a batch of this spec, and the structure of what it gives: outputs, values, statistics."""
    computation = build(spec, network, loss)
    groups = (computation.weights, spec.batch, spec.vectors)

    def function(*arrays: jax.Array) -> tuple[Arrays, list[jax.Array], Arrays]:
        given = iter(arrays)
        weights, batch, vectors = ({one.name: next(given) for one in group} for group in groups)
        arguments = computation.arguments(weights, batch, vectors, seed=next(given))
        context = computation.new_context(arguments)
        outputs, values = computation.forward(arguments, context)
        wanted = spec.outputs or (network.outputs if spec.kind == "forward" else ())
        return {name: outputs[name] for name in wanted}, [one.values for one in values], context.updated_statistics

    leaves = [jax.ShapeDtypeStruct(one.shape, one.dtype) for group in groups for one in group]
    seed = jax.ShapeDtypeStruct((), "int64")
    program, forms = jax.make_jaxpr(function, return_shape=True)(*leaves, seed)
    return _Trace(program, computation.weights), jax.tree.structure(forms)


def _refusal(mixing: rows.Mixing) -> Problem:
    return Problem(
        Reason.DEPENDENT_EXAMPLES,
        "examples of the batch depend on each other, or on how many there are",
        node=mixing.node,
        given=f"the operation '{mixing.operation}'",
        metadata={"operation": mixing.operation},
    )

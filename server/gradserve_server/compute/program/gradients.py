"""Forward and backward: one backward pass for all gradients."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from gradserve_server.compute.program.computation import (
    Arguments,
    Arrays,
    Computation,
    Evaluation,
    Results,
    loss_numbers,
)
from gradserve_server.compute.program.examples import Examples
from gradserve_server.compute.program.norms import factor_to, norm, norm_of_norms
from gradserve_server.compute.program.parts import evaluate, of_parts
from gradserve_server.compute.program.scaling import scaled, unscaled
from gradserve_server.compute.program.stacked import of_stacked_cotangents


def gradients(computation: Computation, arguments: Arguments) -> Results:
    """The loss and its gradients, with their norms."""
    spec, selection = computation.spec, computation.spec.selection
    assert computation.loss is not None
    of_examples: Arrays = {}
    if computation.loss.stacked:
        found, of_parameters, of_inputs = of_stacked_cotangents(computation, arguments)
    elif selection.per_example or selection.clip_example_norm or selection.example_summary:
        found, of_parameters, of_inputs, of_examples = by_example(computation, arguments)
    else:
        found, of_parameters, of_inputs = of_loss(computation, arguments)
    assert found.loss is not None
    norms = {name: norm(of_parameters[name]) for name in computation.selected}
    global_norm = norm_of_norms(norms)
    finite = all_finite(jnp.stack([found.loss.loss.astype(jnp.float64), global_norm]))
    # A norm in float64 of narrower numbers is finite if and only if all of them are.
    wide = [one for one in of_parameters.values() if one.dtype == jnp.float64]
    for gradient in (*wide, *of_inputs.values()):
        finite &= all_finite(gradient)
    if selection.clip_global_norm:
        factor = factor_to(global_norm, selection.clip_global_norm)
        of_parameters = {name: value * factor.astype(value.dtype) for name, value in of_parameters.items()}
    numbers = loss_numbers(found.loss) | {"global_norm": global_norm, "finite": finite}
    numbers |= {f"norm:{name}": value for name, value in norms.items()}
    arrays: dict[str, Arrays] = {"output": {name: found.outputs[name] for name in spec.outputs}}
    if not selection.summary_only:
        sent = {one.name: one.dtype for one in (*computation.weights, *spec.batch)}
        wire = selection.dtype
        arrays["gradient"] = {name: of_parameters[name].astype(wire or sent[name]) for name in computation.selected}
        arrays["input_gradient"] = {name: of_inputs[name].astype(wire or sent[name]) for name in selection.inputs}
    arrays["updated_statistic"] = {
        name: value.astype(computation.dtype) for name, value in found.updated_statistics.items()
    }
    if selection.example_summary:
        arrays["example"] = {name: value.astype(jnp.float64) for name, value in of_examples.items()}
    return Results(arrays, numbers, found)


def all_finite(values: jax.Array) -> jax.Array:
    """Whether all elements are finite: a boolean scalar."""
    return jnp.all(jnp.isfinite(values))


def of_loss(computation: Computation, arguments: Arguments) -> tuple[Evaluation, Arrays, Arrays]:
    """A forward pass, and the gradients of its loss with respect to parameters and inputs; in parts if so asked."""
    if computation.spec.options.micro_batches > 1:
        return of_parts(computation, arguments)

    def objective(chosen: Arrays, inputs: Arrays) -> tuple[jax.Array, Evaluation]:
        found = computation.evaluate(arguments.at(chosen, inputs))
        assert found.loss is not None
        return scaled(found.loss.loss, arguments), found

    point = computation.point(arguments)
    (_, found), gradients = jax.value_and_grad(objective, argnums=(0, 1), has_aux=True)(*point)
    return found, *unscaled(gradients, arguments)


def by_example(computation: Computation, arguments: Arguments) -> tuple[Evaluation, Arrays, Arrays, Arrays]:
    """As `of_loss`, with what the selection asks of examples; and each example's own loss and gradient norm."""
    selection = computation.spec.selection
    options = ("per_example", "clip_example_norm", "example_summary")
    field = next(f"gradients.{name}" for name in options if getattr(selection, name))
    examples = Examples(computation, arguments, field)
    if selection.per_example:
        losses, norms, gradients = examples.gradients(selection.clip_example_norm)
        return (
            evaluate(computation, arguments, computation.spec.outputs),
            *gradients,
            {"losses": losses, "norms": norms},
        )
    found, of_parameters, of_inputs = of_loss(computation, arguments)
    losses, norms = examples.norms()
    if selection.clip_example_norm:
        of_parameters = examples.clipped(norms, selection.clip_example_norm)
    return found, of_parameters, of_inputs, {"losses": losses, "norms": norms}

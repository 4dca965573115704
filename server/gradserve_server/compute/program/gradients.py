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
from gradserve_server.compute.program.norms import norm
from gradserve_server.compute.program.scaling import scaled, unscaled
from gradserve_server.compute.program.stacked import of_stacked_cotangents


def gradients(computation: Computation, arguments: Arguments) -> Results:
    """The loss and its gradients, with their norms."""
    spec = computation.spec
    stacked = computation.loss is not None and computation.loss.stacked
    found, of_parameters, of_inputs = (of_stacked_cotangents if stacked else of_loss)(computation, arguments)
    assert found.loss is not None
    loss = found.loss.loss
    norms = {name: norm(of_parameters[name]) for name in computation.selected}
    global_norm = norm(jnp.stack(list(norms.values()))) if norms else jnp.zeros((), jnp.float64)
    finite = all_finite(jnp.stack([loss.astype(jnp.float64), global_norm]))
    # A norm in float64 of narrower numbers is finite if and only if all of them are.
    wide = [one for one in of_parameters.values() if one.dtype == jnp.float64]
    for gradient in (*wide, *of_inputs.values()):
        finite &= all_finite(gradient)
    if spec.selection.clip_global_norm:
        of_parameters = clip(of_parameters, global_norm, spec.selection.clip_global_norm)
    numbers = loss_numbers(found.loss) | {"global_norm": global_norm, "finite": finite}
    numbers |= {f"norm:{name}": value for name, value in norms.items()}
    arrays: dict[str, Arrays] = {"output": {name: found.outputs[name] for name in spec.outputs}}
    if not spec.selection.summary_only:
        sent = {one.name: one.dtype for one in (*computation.weights, *spec.batch)}
        wire = spec.selection.dtype
        arrays["gradient"] = {name: of_parameters[name].astype(wire or sent[name]) for name in computation.selected}
        arrays["input_gradient"] = {name: of_inputs[name].astype(wire or sent[name]) for name in spec.selection.inputs}
    arrays["updated_statistic"] = {
        name: value.astype(computation.dtype) for name, value in found.updated_statistics.items()
    }
    return Results(arrays, numbers, found)


def all_finite(values: jax.Array) -> jax.Array:
    """Whether all elements are finite: a boolean scalar."""
    return jnp.all(jnp.isfinite(values))


def of_loss(computation: Computation, arguments: Arguments) -> tuple[Evaluation, Arrays, Arrays]:
    """A forward pass, and the gradients of its loss with respect to parameters and inputs."""

    def objective(chosen: Arrays, inputs: Arrays) -> tuple[jax.Array, Evaluation]:
        found = computation.evaluate(arguments.at(chosen, inputs))
        assert found.loss is not None
        return scaled(found.loss.loss, arguments), found

    point = computation.point(arguments)
    (_, found), gradients = jax.value_and_grad(objective, argnums=(0, 1), has_aux=True)(*point)
    return found, *unscaled(gradients, arguments)


def clip(values: Arrays, global_norm: jax.Array, most: float) -> Arrays:
    """`values` scaled so that their norm is at most `most`.

    A norm that is not finite leaves them as they are: `finite` says so.
    """
    factor = jnp.where(global_norm > most, most / global_norm, 1.0)
    factor = jnp.where(jnp.isfinite(global_norm), factor, 1.0)
    return {name: value * factor.astype(value.dtype) for name, value in values.items()}

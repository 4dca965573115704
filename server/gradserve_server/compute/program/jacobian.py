"""Jacobian of the outputs times tangents, in one forward pass."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from gradserve_server.compute.program import tangents
from gradserve_server.compute.program.computation import Arguments, Arrays, Computation, Evaluation, Results
from gradserve_server.compute.program.parts import evaluate


def jacobian_product(computation: Computation, arguments: Arguments) -> Results:
    """Outputs and their tangents; outputs that are not floating-point have none."""
    of_parameters = tangents.of_parameters(computation, arguments, "weight_tangents")
    of_inputs = tangents.of_inputs(computation, arguments, "input_tangents")

    def outputs(parameters: Arrays, inputs: Arrays) -> tuple[Arrays, Evaluation]:
        found = evaluate(computation, arguments.at(parameters, inputs), tuple(computation.network.outputs))
        return {name: value for name, value in found.outputs.items() if _moves(value)}, found

    parameters = {name: arguments.parameters[name] for name in of_parameters}
    inputs = {name: arguments.batch[name].astype(computation.dtype) for name in of_inputs}
    _, moved, found = jax.jvp(outputs, (parameters, inputs), (of_parameters, of_inputs), has_aux=True)
    return Results({"output": dict(found.outputs), "output_tangent": moved}, {}, found)


def _moves(value: jax.Array) -> bool:
    return bool(jnp.issubdtype(value.dtype, jnp.floating))

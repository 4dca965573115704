"""Second derivatives of the loss times a vector of parameters, without the matrix."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from gradserve_server.common.specs import Matrix
from gradserve_server.compute.program import tangents
from gradserve_server.compute.program.computation import Arguments, Arrays, Computation, Evaluation, Results
from gradserve_server.compute.program.gradients import of_loss
from gradserve_server.compute.program.parts import evaluate
from gradserve_server.compute.program.scaling import scaled, unscaled


def hessian_product(computation: Computation, arguments: Arguments) -> Results:
    """The loss, and Hessian or Gauss-Newton matrix times the vector, of each parameter's shape."""
    given = tangents.of_parameters(computation, arguments, "vector")
    vector = tangents.zeros_where_missing(given, arguments.parameters)
    of_matrix = gauss_newton if computation.spec.matrix is Matrix.GAUSS_NEWTON else hessian
    found, product = of_matrix(computation, arguments, vector)
    assert found.loss is not None
    sent = {one.name: one.dtype for one in computation.weights}
    arrays = {name: product[name].astype(sent[name]) for name in computation.signature.parameters}
    return Results({"product": arrays}, {"loss": found.loss.loss}, found)


def hessian(computation: Computation, arguments: Arguments, vector: Arrays) -> tuple[Evaluation, Arrays]:
    """Derivative of the gradient along the vector, forward over reverse.

    Source: Pearlmutter, "Fast exact multiplication by the Hessian", 1994.
    """

    def gradient(parameters: Arrays) -> tuple[Arrays, Evaluation]:
        found, of_parameters, _ = of_loss(computation, arguments.at(parameters, {}))
        return of_parameters, found

    _, product, found = jax.jvp(gradient, (arguments.parameters,), (vector,), has_aux=True)
    return found, product


def gauss_newton(computation: Computation, arguments: Arguments, vector: Arrays) -> tuple[Evaluation, Arrays]:
    """J^T H J times the vector: J is the Jacobian of what the loss is computed from, H the loss's own Hessian.

    The loss is computed from the outputs, and from the parameters where it takes them itself.

    Source: Schraudolph, "Fast curvature matrix-vector products for second-order gradient descent", 2002.
    """

    def to_loss(parameters: Arrays) -> tuple[tuple[Arrays, Arrays], Evaluation]:
        found = evaluate(computation, arguments.at(parameters, {}), tuple(computation.network.outputs))
        moving = {name: one for name, one in found.outputs.items() if jnp.issubdtype(one.dtype, jnp.floating)}
        return (moving, parameters), found

    def loss(outputs: Arrays, parameters: Arrays) -> jax.Array:
        return computation.loss_of(found.outputs | outputs, arguments.at(parameters, {})).loss

    point, moved, found = jax.jvp(to_loss, (arguments.parameters,), (vector,), has_aux=True)
    _, curved = jax.jvp(jax.grad(loss, argnums=(0, 1)), point, moved)
    _, pull_back, _ = jax.vjp(to_loss, arguments.parameters, has_aux=True)
    (product,) = pull_back(jax.tree.map(lambda one: scaled(one, arguments), curved))
    return found, unscaled(product, arguments)

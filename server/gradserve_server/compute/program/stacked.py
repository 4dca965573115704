"""Many vector-Jacobian products from one forward pass."""

from __future__ import annotations

import jax

from gradserve_server.common.errors import Problem, Reason
from gradserve_server.compute.losses import Cotangents
from gradserve_server.compute.network import Capability
from gradserve_server.compute.program.computation import Arguments, Arrays, Computation, Evaluation
from gradserve_server.compute.program.parts import evaluate
from gradserve_server.compute.program.scaling import scaled, unscaled


def of_stacked_cotangents(computation: Computation, arguments: Arguments) -> tuple[Evaluation, Arrays, Arrays]:
    """A forward pass, and for each vector the gradients of its product, along a new first axis.

    The way back through the network is linear in what it begins with, so that all vectors take it at once.
    """
    loss = computation.loss
    assert isinstance(loss, Cotangents)
    for name in ("clip_global_norm", "clip_example_norm", "example_summary", "per_example"):
        if getattr(computation.spec.selection, name):
            raise Problem(
                Reason.UNSUPPORTED_OPTION,
                "stacked cotangents have as many gradients as vectors, and not one to clip or to take apart",
                field=f"gradients.{name}",
                expected="not set",
            )

    wanted = tuple(dict.fromkeys((*loss.names, *computation.spec.outputs)))

    def outputs(chosen: Arrays, inputs: Arrays) -> tuple[Arrays, Evaluation]:
        found = evaluate(computation, arguments.at(chosen, inputs), wanted)
        return {name: found.outputs[name] for name in loss.names}, found

    given, pull_back, found = jax.vjp(outputs, *computation.point(arguments), has_aux=True)
    cotangents = loss.by_output(given, arguments.vectors)
    stack = {name: scaled(one, arguments).astype(given[name].dtype) for name, one in cotangents.items()}
    # A network that cannot take many examples apart cannot take many vectors at once either.
    if Capability.PER_EXAMPLE in computation.network.limitations:
        gradients = jax.lax.map(pull_back, stack)
    else:
        gradients = jax.vmap(pull_back)(stack)
    return found, *unscaled(gradients, arguments)

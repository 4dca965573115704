"""What can be computed of a network: a row for each kind of program."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from gradserve_server.compute.program.computation import Arguments, Computation, Results
from gradserve_server.compute.program.forward import forward
from gradserve_server.compute.program.gradients import gradients
from gradserve_server.compute.program.hessian import hessian_product
from gradserve_server.compute.program.jacobian import jacobian_product
from gradserve_server.compute.program.trace import trace

# Kinds that are derivatives of a loss.
NEED_LOSS = frozenset({"gradients", "trace", "hessian_product"})

KINDS: Mapping[str, Callable[[Computation, Arguments], Results]] = {
    "gradients": gradients,
    "forward": forward,
    "trace": trace,
    "jacobian_product": jacobian_product,
    "hessian_product": hessian_product,
}

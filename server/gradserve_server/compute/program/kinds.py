"""What can be computed of a network: a row for each kind of program."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from gradserve_server.compute.program.computation import Arguments, Computation, Results
from gradserve_server.compute.program.forward import forward
from gradserve_server.compute.program.gradients import gradients
from gradserve_server.compute.program.trace import trace

KINDS: Mapping[str, Callable[[Computation, Arguments], Results]] = {
    "gradients": gradients,
    "forward": forward,
    "trace": trace,
}

"""Forward only."""

from __future__ import annotations

from gradserve_server.compute.program.computation import Arguments, Computation, Results, loss_numbers
from gradserve_server.compute.program.parts import evaluate


def forward(computation: Computation, arguments: Arguments) -> Results:
    """Outputs, and the loss if one is named."""
    wanted = computation.spec.outputs or tuple(computation.network.outputs)
    found = evaluate(computation, arguments, wanted)
    numbers = {} if found.loss is None else loss_numbers(found.loss)
    return Results({"output": {name: found.outputs[name] for name in wanted}}, numbers, found)

"""Forward only."""

from __future__ import annotations

from gradserve_server.compute.program.computation import Arguments, Computation, Results, loss_numbers


def forward(computation: Computation, arguments: Arguments) -> Results:
    """Outputs, and the loss if one is named."""
    found = computation.evaluate(arguments)
    wanted = computation.spec.outputs or computation.network.outputs
    numbers = {} if found.loss is None else loss_numbers(found.loss)
    return Results({"output": {name: found.outputs[name] for name in wanted}}, numbers, found)

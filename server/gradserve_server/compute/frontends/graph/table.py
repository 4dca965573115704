"""The table of operations: a row for each, entered by the functions in `operations`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from gradserve_server.compute.frontends.graph.call import Call, Value


@dataclasses.dataclass(frozen=True)
class Operation:
    """A row.

    Attributes:
        name: name of the field of ``Node.operation``.
        function: computes the result; asks its call for inputs and parameters.
        inputs: least and most number of inputs; None for no bound.
        moves_only: whether it only moves elements, so that indices which came with the batch stay recognizable.
    """

    name: str
    function: Callable[[Call[Any]], Value]
    inputs: tuple[int, int | None]
    moves_only: bool


OPERATIONS: dict[str, Operation] = {}


def operation(
    name: str, *, inputs: int | tuple[int, int | None] = 1, moves_only: bool = False
) -> Callable[[Callable[[Call[Any]], Value]], Callable[[Call[Any]], Value]]:
    """Enters the decorated function as the operation `name`, which takes this many inputs."""
    bounds = (inputs, inputs) if isinstance(inputs, int) else inputs

    def enter(function: Callable[[Call[Any]], Value]) -> Callable[[Call[Any]], Value]:
        OPERATIONS[name] = Operation(name, function, bounds, moves_only)
        return function

    return enter

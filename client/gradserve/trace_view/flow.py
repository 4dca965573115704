"""How large gradients are over the depth of a network: what the plot and the page draw, and the verdict in words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from gradserve.trace_view.structure import Structure, values_of
from gradserve.traces import TraceResult

VERDICTS = {
    "healthy": "Healthy",
    "vanishing": "Vanishing",
    "exploding": "Exploding",
    "non_finite": "Not finite",
    "disconnected": "Disconnected",
    "unspecified": "Not judged",
}
MEANINGS = {
    "healthy": "Gradients are of like size from end to end.",
    "vanishing": "Gradients shrink on their way back to the inputs.",
    "exploding": "Gradients grow on their way back to the inputs.",
    "non_finite": "Some values or gradients are not finite numbers.",
    "disconnected": "The loss does not depend on some parameters.",
    "unspecified": "",
}


@dataclass(frozen=True, slots=True)
class Point:
    """The gradient of one value.

    Attributes:
        index: of the value in the trace.
        depth: operations between an input and it.
        size: root mean square of the gradient; may be 0, infinite or NaN.
        of: whether it belongs to a parameter or to a value that flows.
    """

    index: int
    depth: int
    size: float
    of: Literal["parameter", "value"]


def points(trace: TraceResult, graph: Structure) -> tuple[Point, ...]:
    """A point for each value that has a gradient, in forward order.

    A parameter of a repeated block is left out as a whole where its layers are there one by one, and so is what a block
    gives, which is the value of its last node.
    """
    shown = set(values_of(graph.network))
    sliced = {
        one for index, used in enumerate(graph.inputs) if trace.values[index].operation == "parameter" for one in used
    }
    return tuple(
        Point(
            index,
            graph.depths[index],
            value.gradient.root_mean_square if value.gradient.non_finite == 0 else float("nan"),
            "parameter" if value.operation == "parameter" else "value",
        )
        for index, value in enumerate(trace.values)
        if value.gradient is not None and index in shown and index not in sliced
    )

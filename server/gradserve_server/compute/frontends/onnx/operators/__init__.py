"""The operators of ONNX, a file for each family; importing them fills the table."""

from gradserve_server.compute.frontends.onnx.operators import (
    activations,
    arithmetic,
    casting,
    control,
    elementwise,
    generation,
    indexing,
    linear,
    logic,
    reduction,
    shapes,
)
from gradserve_server.compute.frontends.onnx.operators.listing import names_of_operators

__all__ = [
    "activations",
    "arithmetic",
    "casting",
    "control",
    "elementwise",
    "generation",
    "indexing",
    "linear",
    "logic",
    "names_of_operators",
    "reduction",
    "shapes",
]

"""The operations of the native graph, a file for each family; importing them fills the table."""

from gradserve_server.compute.frontends.graph.operations import (
    arithmetic,
    choice,
    elementwise,
    layers,
    normalization,
    pooling,
    randomness,
    reduce,
    shapes,
    values,
)
from gradserve_server.compute.frontends.graph.table import OPERATIONS

__all__ = [
    "NAMES",
    "arithmetic",
    "choice",
    "elementwise",
    "layers",
    "normalization",
    "pooling",
    "randomness",
    "reduce",
    "shapes",
    "values",
]

NAMES = frozenset(OPERATIONS)

"""The operations of the native graph, a file for each family; importing them fills the table."""

from gradserve_server.compute.frontends.graph.operations import (
    arithmetic,
    elementwise,
    layers,
    normalization,
    pooling,
    randomness,
    shapes,
    values,
)
from gradserve_server.compute.frontends.graph.table import OPERATIONS

__all__ = ["NAMES", "arithmetic", "elementwise", "layers", "normalization", "pooling", "randomness", "shapes", "values"]

NAMES = frozenset(OPERATIONS)

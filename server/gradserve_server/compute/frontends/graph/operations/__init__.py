"""The operations of the native graph, a file for each family; importing them fills the table."""

import importlib
import pkgutil

from gradserve_server.compute.frontends.graph.table import OPERATIONS

__all__ = ["NAMES"]

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

NAMES = frozenset(OPERATIONS)

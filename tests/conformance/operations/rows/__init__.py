"""The table: for each operation, attributes that lead through it, and what NumPy makes of the same numbers.

A new operation is a new row, in the file that is named as the one of its function.
"""

import importlib
import pkgutil

from tests.conformance.operations.rows.row import Row

__all__ = ["ROWS", "Row"]

_FAMILIES = [importlib.import_module(f"{__name__}.{one.name}") for one in pkgutil.iter_modules(__path__)]
ROWS: dict[str, Row] = {row.name: row for family in _FAMILIES for row in getattr(family, "ROWS", ())}

"""What is served, for `GetServerInfo`."""

from __future__ import annotations

import onnx.defs

from gradserve_server.compute.frontends.onnx.schemas import body_of
from gradserve_server.compute.frontends.onnx.table import OPERATORS


def names_of_operators() -> tuple[str, ...]:
    """All operators that are served, as ``domain:Operator:since_version``, those defined by others among them."""
    found = set(OPERATORS)
    for schema in onnx.defs.get_all_schemas_with_history():
        key = (schema.domain, schema.name, schema.since_version)
        if key not in found and not schema.domain and body_of(*key) is not None:
            found.add(key)
    return tuple(f"{domain or 'ai.onnx'}:{name}:{version}" for domain, name, version in sorted(found))

"""What the ONNX standard, as the installed onnx package knows it, says of an operator."""

from __future__ import annotations

import functools
from typing import Any

import onnx
import onnx.defs
import onnx.helper

from gradserve_server.common.specs import Limits
from gradserve_server.compute.frontends.onnx.definition import Function
from gradserve_server.compute.frontends.onnx.reading import read_function


@functools.lru_cache(maxsize=4096)
def schema_of(domain: str, operator: str, opset: int) -> Any | None:
    """The newest schema of `operator` that is not newer than `opset`; None if there is none."""
    if not 0 < opset < 1 << 31:
        return None
    try:
        return onnx.defs.get_schema(operator, opset, domain)
    except onnx.defs.SchemaError:
        return None


@functools.lru_cache(maxsize=4096)
def body_of(domain: str, operator: str, opset: int) -> Function | None:
    """The nodes that the standard defines `operator` by; None if it does not, or by nodes that depend on its types."""
    schema = schema_of(domain, operator, opset)
    if schema is None or schema.deprecated or not schema.has_function:
        return None
    body = onnx.FunctionProto()
    body.CopyFrom(schema.function_body)
    for attribute in schema.attributes.values():
        if attribute.default_value.name:
            body.attribute_proto.add().CopyFrom(attribute.default_value)
    return read_function(body, Limits())

"""Bytes or text as an ``onnx.ModelProto``: bounded first, then parsed by the onnx package."""

from __future__ import annotations

import onnx
import onnx.parser
from google.protobuf.message import DecodeError

from gradserve_server.common.errors import Problem, Reason, shorten
from gradserve_server.common.specs import Limits
from gradserve_server.compute.frontends.onnx import bounds, wire

_OPENING, _CLOSING = "([{<", ")]}>"


def parse_bytes(content: bytes, limits: Limits) -> onnx.ModelProto:
    """The model in a serialized ``ModelProto``.

    Raises:
        Problem: too large, too deep, or no model.
    """
    most = wire.Bounds(
        records=limits.nodes * bounds.RECORDS_PER_NODE,
        depth=bounds.MESSAGE_DEPTH,
        text_bytes=limits.definition_bytes,
        packed_bytes=bounds.PACKED_BYTES,
    )
    wire.check_size(content, onnx.ModelProto.DESCRIPTOR, most)
    try:
        return onnx.ModelProto.FromString(content)
    except DecodeError:
        raise Problem(
            Reason.MALFORMED_NETWORK,
            "the bytes are no ONNX model",
            field="network.onnx",
            given=f"{len(content)} bytes",
        ) from None


def parse_text(content: bytes, limits: Limits) -> onnx.ModelProto:
    """The model in ONNX text.

    Raises:
        Problem: too large, too deep, or not in the syntax.
    """
    field = "network.onnx_text"
    if len(content) > limits.definition_bytes:
        raise Problem(
            Reason.TOO_LARGE,
            "the text is too large",
            field=field,
            given=f"{len(content)} bytes",
            expected=f"at most {limits.definition_bytes} bytes",
        )
    try:
        text = content.decode()
    except UnicodeDecodeError:
        raise Problem(Reason.MALFORMED_NETWORK, "the text is not UTF-8", field=field) from None
    if "\0" in text:
        raise Problem(Reason.MALFORMED_NETWORK, "the text holds a null character", field=field)
    depth = _depth(text)
    if depth > bounds.TEXT_DEPTH:
        raise Problem(
            Reason.TOO_DEEP,
            "the text is nested too deep",
            field=field,
            given=f"{depth} brackets within each other",
            expected=f"at most {bounds.TEXT_DEPTH}",
        )
    try:
        return onnx.parser.parse_model(text)
    except (onnx.parser.ParseError, DecodeError, RuntimeError, ValueError, IndexError) as error:
        # The parser, which is C++, lets some errors of its standard library out.
        raise Problem(
            Reason.MALFORMED_NETWORK,
            f"the text is not in ONNX's syntax ({_message(error)})",
            field=field,
        ) from None


def _message(error: Exception) -> str:
    first = error.args[0] if error.args else ""
    text = first.decode(errors="replace") if isinstance(first, bytes) else str(first)
    return shorten(" ".join(text.split()), 200)


def _depth(text: str) -> int:
    """Most brackets within each other, those in strings and comments included: a bound from above."""
    depth = most = 0
    for character in text:
        if character in _OPENING:
            depth += 1
            most = max(most, depth)
        elif character in _CLOSING:
            depth = max(0, depth - 1)
    return most

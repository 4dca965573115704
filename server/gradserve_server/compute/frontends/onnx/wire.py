"""A walk over the bytes of a message that parses nothing: how much there would be to parse.

A parsed message takes up to eighty times its bytes, so what counts is its number of fields.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from gradserve_server.common.errors import Problem, Reason

_VARINT, _LENGTH_DELIMITED = 0, 2
# Bytes of the kinds of one size.
_FIXED = {1: 8, 5: 4}
_BYTES, _NUMBERS, _TEXT = "bytes", "numbers", "text"


@dataclasses.dataclass(frozen=True)
class Bounds:
    """What a message may hold.

    Attributes:
        records: fields, those of nested messages included.
        depth: messages within messages.
        text_bytes: bytes beside those of fields of type ``bytes`` and of packed numbers, where tensors are.
        packed_bytes: bytes of packed numbers, which grow eightfold.
    """

    records: int
    depth: int
    text_bytes: int
    packed_bytes: int


def check_size(content: bytes, descriptor: Any, bounds: Bounds) -> None:
    """Refuses bytes that would take too much to parse, or that are no message.

    Args:
        content: a serialized message.
        descriptor: its protobuf descriptor.
        bounds: what it may hold.

    Raises:
        Problem: more than that, or malformed.
    """
    try:
        records, of_bytes, of_numbers = _walk(content, descriptor, bounds)
    except IndexError:
        raise _malformed() from None
    if records > bounds.records:
        raise _too_large("fields", f"more than {bounds.records}", bounds.records)
    rest = len(content) - of_bytes - of_numbers
    if rest > bounds.text_bytes:
        raise _too_large("bytes beside its tensors", str(rest), bounds.text_bytes)
    if of_numbers > bounds.packed_bytes:
        raise _too_large(
            "bytes of tensors that are not raw_data", str(of_numbers), bounds.packed_bytes, "Store them as raw_data."
        )


def _walk(content: bytes, descriptor: Any, bounds: Bounds) -> tuple[int, int, int]:
    """Number of fields, bytes of bytes, bytes of packed numbers; stops once there are too many fields."""
    records = of_bytes = of_numbers = 0
    place, end, fields = 0, len(content), _nested(descriptor)
    known = {descriptor.full_name: fields}
    outer: list[tuple[int, dict[int, Any]]] = []
    while records <= bounds.records:
        if place >= end:
            if place > end:
                raise _malformed()
            if not outer:
                break
            end, fields = outer.pop()
            continue
        records += 1
        tag, place = _varint(content, place)
        kind = tag & 7
        if kind == _LENGTH_DELIMITED:
            length, place = _varint(content, place)
            if place + length > end:
                raise _malformed()
            inner = fields.get(tag >> 3)
            if inner is None or isinstance(inner, str):
                if inner == _TEXT:
                    _check_text(content, place, length)
                of_bytes += length * (inner == _BYTES)
                of_numbers += length * (inner == _NUMBERS)
                place += length
                continue
            if len(outer) >= bounds.depth:
                raise Problem(
                    Reason.TOO_DEEP,
                    "the model is nested too deep",
                    field="network",
                    expected=f"at most {bounds.depth} messages within each other",
                )
            outer.append((end, fields))
            end = place + length
            if inner.full_name not in known:
                known[inner.full_name] = _nested(inner)
            fields = known[inner.full_name]
        else:
            place = _after_number(content, place, kind)
    return records, of_bytes, of_numbers


def _nested(descriptor: Any) -> dict[int, Any]:
    """By number: the descriptor of fields that are messages; a word for text, bytes and repeated numbers."""
    found: dict[int, Any] = {}
    for field in descriptor.fields:
        if field.message_type is not None:
            found[field.number] = field.message_type
        elif field.type == field.TYPE_BYTES:
            found[field.number] = _BYTES
        elif field.type == field.TYPE_STRING:
            found[field.number] = _TEXT
        elif field.is_repeated:
            found[field.number] = _NUMBERS
    return found


def _check_text(content: bytes, place: int, length: int) -> None:
    """Refuses text that is not UTF-8: the parser would give it as bytes, where all else expects text."""
    try:
        content[place : place + length].decode()
    except UnicodeDecodeError:
        raise _malformed() from None


def _after_number(content: bytes, place: int, kind: int) -> int:
    if kind == _VARINT:
        return _varint(content, place)[1]
    if kind not in _FIXED:
        raise _malformed()
    return place + _FIXED[kind]


def _varint(content: bytes, place: int) -> tuple[int, int]:
    byte = content[place]
    if byte < 128:
        return byte, place + 1
    value = shift = 0
    while True:
        value |= (byte & 127) << shift
        place += 1
        if byte < 128:
            return value, place
        shift += 7
        if shift > 63:
            raise _malformed()
        byte = content[place]


def _malformed() -> Problem:
    return Problem(Reason.MALFORMED_NETWORK, "the bytes are no ONNX model", field="network.onnx")


def _too_large(what: str, given: str, most: int, hint: str = "") -> Problem:
    return Problem(
        Reason.TOO_LARGE,
        f"the model has too many {what}",
        field="network.onnx",
        given=given,
        expected=f"at most {most}",
        hint=hint,
        metadata={"limit": str(most)},
    )

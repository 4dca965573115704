"""Protobuf's wire format, for the few messages whose bytes are too many to be parsed."""

from __future__ import annotations

from collections.abc import Iterator

LENGTH_DELIMITED = 2
FIXED_64 = 1
_FIXED_32 = 5
_SIZES = {FIXED_64: 8, _FIXED_32: 4}


class IrregularError(Exception):
    """Bytes that no encoder of today writes."""


def fields(content: bytes | memoryview, place: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """The fields of the message from byte `place` to byte `end`.

    Yields:
        number and wire type of each field, then where its value starts and ends; of a varint, its value twice.

    Raises:
        IrregularError: it is no message.
    """
    try:
        while place < end:
            tag, place = varint(content, place)
            number, kind = tag >> 3, tag & 7
            if kind == LENGTH_DELIMITED:
                length, place = varint(content, place)
                yield number, kind, place, place + length
                place += length
            elif kind == 0:
                value, place = varint(content, place)
                yield number, kind, value, value
            elif kind in _SIZES:
                yield number, kind, place, place + _SIZES[kind]
                place += _SIZES[kind]
            else:
                raise IrregularError(f"wire type {kind}")
    except IndexError:
        raise IrregularError("cut off") from None
    if place != end:
        raise IrregularError("cut off")


def varint(content: bytes | memoryview, place: int) -> tuple[int, int]:
    """The number at byte `place`, and where it ends."""
    value = shift = 0
    while True:
        byte = content[place]
        place += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, place
        shift += 7
        if shift > 63:
            raise IrregularError("a number of more than 64 bits")


def to_varint(value: int) -> bytes:
    """A number that is not negative, as bytes."""
    encoded = bytearray()
    while value > 127:
        encoded.append(value & 127 | 128)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def header(number: int, length: int) -> bytes:
    """What precedes the bytes of a length-delimited field."""
    return to_varint(number << 3 | LENGTH_DELIMITED) + to_varint(length)

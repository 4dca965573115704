"""Requests with large tensors as bytes, written with one copy.

The protobuf runtime would copy each tensor three times. Serialized messages can be joined (the
fields of the later one add to those of the earlier one), and a tensor is a short header and its
bytes; so the header is written here and the bytes are joined where they are. The tests hold this
against the runtime.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, TypeAlias, cast

import numpy as np

from gradserve.errors import LimitExceeded
from gradserve.tensors import Array, to_data_type
from gradserve.v1 import tensor_pb2

LARGEST_MESSAGE = 2**31 - 1
"""Bytes that one protobuf message can have."""

STREAMED_BYTES = 4 << 20
"""Requests with more bytes of tensors go over a stream. Smaller ones are as fast or faster in one message: at 1 MB a
stream took 1.3 times as long, at 67 MB 0.6 times."""

ATTACHED_BYTES = 1 << 16
"""On a stream, tensors of at least this size follow their request as attachments."""

Piece: TypeAlias = bytes | Array
"""Some bytes of a message."""

_LENGTH_DELIMITED = 2
_DATA = (tensor_pb2.Tensor.DATA_FIELD_NUMBER << 3) | _LENGTH_DELIMITED


@lru_cache(maxsize=4096)
def varint(number: int) -> bytes:
    """An unsigned number in base 128, least significant digit first."""
    digits = bytearray()
    while number > 0x7F:
        digits.append(number & 0x7F | 0x80)
        number >>= 7
    digits.append(number)
    return bytes(digits)


def read_varint(content: bytes, place: int) -> tuple[int, int]:
    """The number at byte `place`, and where it ends."""
    value = shift = 0
    while True:
        byte = content[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
        shift += 7


@lru_cache(maxsize=4096)
def field(number: int, length: int) -> bytes:
    """What precedes `length` bytes of a string, bytes or message field."""
    return varint((number << 3) | _LENGTH_DELIMITED) + varint(length)


@lru_cache(maxsize=8192)
def _entry_header(number: int, name: str, dtype: np.dtype[Any], shape: tuple[int, ...]) -> bytes:
    """What precedes the elements of one entry of a map from name to tensor."""
    key = name.encode()
    size = math.prod(shape) * dtype.itemsize
    tensor = tensor_pb2.Tensor(data_type=to_data_type(dtype), shape=shape).SerializeToString()
    tensor += bytes([_DATA]) + varint(size)
    entry = field(1, len(key)) + key + field(2, len(tensor) + size) + tensor
    return field(number, len(entry) + size) + entry


@lru_cache(maxsize=8192)
def _attached_entry(number: int, name: str, dtype: np.dtype[Any], shape: tuple[int, ...], attachment: int) -> bytes:
    """One entry of a map from name to tensor, whose elements follow as an attachment."""
    tensor = tensor_pb2.Tensor(data_type=to_data_type(dtype), shape=shape)
    tensor.attachment.number = attachment
    tensor.attachment.size_bytes = math.prod(shape) * dtype.itemsize
    key, value = name.encode(), tensor.SerializeToString()
    entry = field(1, len(key)) + key + field(2, len(value)) + value
    return field(number, len(entry)) + entry


def tensor_map(
    number: int, arrays: Mapping[str, Array], attached: list[Array] | None = None
) -> tuple[list[Piece], list[bytes]]:
    """A ``map<string, Tensor>`` field with this number.

    Args:
        number: number of the map field.
        arrays: what `tensors.to_array` gave, by name.
        attached: where large tensors go that follow as attachments, numbered by their place from 1; None attaches none.

    Returns:
        the pieces to join, and those of them that tell names, types and shapes.
    """
    pieces: list[Piece] = []
    headers: list[bytes] = []
    for name, array in arrays.items():
        if attached is not None and array.nbytes >= ATTACHED_BYTES:
            attached.append(array)
            pieces.append(_attached_entry(number, name, array.dtype, array.shape, len(attached)))
            continue
        header = _entry_header(number, name, array.dtype, array.shape)
        headers.append(header)
        pieces.append(header)
        pieces.append(array)
    return pieces, headers


def nested(number: int, pieces: list[Piece]) -> list[Piece]:
    """A message field with this number that holds the pieces."""
    return [field(number, size(pieces)), *pieces]


def size(pieces: Iterable[Piece]) -> int:
    """Bytes of all pieces."""
    # Not a generator: it would take longer than the sizes do.
    return sum([len(piece) if isinstance(piece, bytes) else piece.nbytes for piece in pieces])


def join(pieces: list[Piece]) -> bytes:
    """All pieces, one after the other.

    Raises:
        LimitExceeded: they do not fit one message.
    """
    total = size(pieces)
    if total > LARGEST_MESSAGE:
        raise LimitExceeded.because(
            "weights and batch do not fit one message",
            given=f"{total} bytes",
            expected=f"at most {LARGEST_MESSAGE} bytes",
            hint="Send smaller batches, or float32 rather than float64.",
        )
    # Arrays are buffers, which their types do not tell before Python 3.12.
    return b"".join(cast("list[bytes]", pieces))

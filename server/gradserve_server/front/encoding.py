"""Answers as bytes: tensors are joined from where they lie, in one copy.

Through the message classes each tensor would be copied three times: to bytes, into the message and out of it.
Serialized messages can be joined, so that only the tensors are written by hand here and all else by the runtime.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Iterable, Mapping
from typing import Any, Generic, TypeVar

import numpy as np
from google.protobuf.message import Message

from gradserve.v1 import gradient_service_pb2 as service
from gradserve.v1 import tensor_pb2
from gradserve_server.front.tensors import DTYPES_BY_NAME, NAMES, NUMBERS, Array
from gradserve_server.front.wire import header

_BY_NAME = service.NamedTensors.BY_NAME_FIELD_NUMBER
# Copied faster than they are wrapped.
_SMALL_BYTES = 4096

Piece = bytes | memoryview
Head = TypeVar("Head", bound=Message)


@dataclasses.dataclass(frozen=True)
class Answer(Generic[Head]):
    """An answer of which the tensors are still where they were computed.

    Attributes:
        head: all of it but the tensors.
        maps: fields that are maps from name to tensor, by number of the field.
        nested: fields of type NamedTensors, by number of the field.
    """

    head: Head
    maps: Mapping[int, Mapping[str, Array]]
    nested: Mapping[int, Mapping[str, Array]]


def encode(answer: Answer[Any]) -> bytes:
    """The answer's bytes."""
    pieces: list[Piece] = [answer.head.SerializeToString()]
    for number, arrays in answer.maps.items():
        pieces += _entries(number, arrays.items())
    for number, arrays in answer.nested.items():
        inner = _entries(_BY_NAME, arrays.items())
        pieces.append(header(number, sum(len(piece) for piece in inner)))
        pieces += inner
    return b"".join(pieces)


def _entries(number: int, arrays: Iterable[tuple[str, Array]]) -> list[Piece]:
    pieces: list[Piece] = []
    for name, array in arrays:
        pieces.append(entry_lead(number, name, NAMES[array.dtype], array.shape))
        pieces.append(elements(array))
    return pieces


def elements(array: Array) -> Piece:
    if array.nbytes <= _SMALL_BYTES:
        return array.tobytes()
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


@functools.lru_cache(maxsize=8192)
def entry_lead(number: int, name: str, dtype: str, shape: tuple[int, ...], attachment: int = 0) -> bytes:
    """All of a map's entry but the elements, which come last; with the number of an attachment, all of it."""
    start, size = _tensor_lead(dtype, shape, attachment)
    key = header(1, len(name.encode())) + name.encode()
    value = header(2, len(start) + size) + start
    return header(number, len(key) + len(value) + size) + key + value


@functools.lru_cache(maxsize=1024)
def field_lead(number: int, dtype: str, shape: tuple[int, ...], attachment: int = 0) -> bytes:
    """As `entry_lead`, of a field of type Tensor."""
    start, size = _tensor_lead(dtype, shape, attachment)
    return header(number, len(start) + size) + start


def _tensor_lead(dtype: str, shape: tuple[int, ...], attachment: int) -> tuple[bytes, int]:
    """All of a tensor but its elements, and the bytes of elements that follow."""
    kind = DTYPES_BY_NAME[dtype]
    size = math.prod(shape) * kind.itemsize
    tensor = tensor_pb2.Tensor(data_type=NUMBERS[kind], shape=shape)  # type: ignore[arg-type]
    if attachment:
        tensor.attachment.number, tensor.attachment.size_bytes = attachment, size
        return tensor.SerializeToString(), 0
    return tensor.SerializeToString() + header(tensor_pb2.Tensor.DATA_FIELD_NUMBER, size), size

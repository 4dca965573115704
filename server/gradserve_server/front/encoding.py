"""Answers as bytes: tensors are joined from where they lie, in one copy.

Through the message classes each tensor would be copied three times: to bytes, into the message and out of it.
Serialized messages can be joined, so that only the tensors are written by hand here and all else by the runtime.
"""

from __future__ import annotations

import dataclasses
import functools
import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Generic, TypeVar, final

import numpy as np
from google.protobuf import duration_pb2
from google.protobuf.message import Message

from gradserve.v1 import gradient_service_pb2 as service
from gradserve.v1 import tensor_pb2
from gradserve_server.common.specs import Program
from gradserve_server.front.tensors import DTYPES_BY_NAME, NAMES, NUMBERS, Array

_LENGTH_DELIMITED = 2
_FIXED_64 = 1
_BY_NAME = service.NamedTensors.BY_NAME_FIELD_NUMBER
# Copied faster than they are wrapped.
_SMALL_BYTES = 4096

_QUEUE, _COMPILE, _EXECUTE = (
    bytes([service.Timing.DESCRIPTOR.fields_by_name[name].number << 3 | _LENGTH_DELIMITED])
    for name in ("queue", "compile", "execute")
)

Piece = bytes | memoryview
Head = TypeVar("Head", bound=Message)


@dataclasses.dataclass(frozen=True)
class Times:
    """Where the time of one request went, and with whom it ran (`Timing` of the contract); times in seconds."""

    queue: float
    compile: float
    execute: float
    batched_requests: int
    padded_examples: int

    def message(self) -> service.Timing:
        """As the contract has it."""
        return service.Timing(
            queue=_duration(self.queue),
            compile=_duration(self.compile),
            execute=_duration(self.execute),
            batched_requests=self.batched_requests,
            padded_examples=self.padded_examples,
        )

    def field(self, number: int) -> bytes:
        """As the field of this number; the same as `message` gives, in a third of the time."""
        pieces = []
        for place, seconds in ((_QUEUE, self.queue), (_COMPILE, self.compile), (_EXECUTE, self.execute)):
            if seconds:
                whole, nanoseconds = divmod(int(seconds * 1e9), 1_000_000_000)
                inner = (b"\x08" + _varint(whole) if whole else b"") + (
                    b"\x10" + _varint(nanoseconds) if nanoseconds else b""
                )
                pieces += [place, _varint(len(inner)), inner]
        pieces.append(_counts(self.batched_requests, self.padded_examples))
        content = b"".join(pieces)
        return _header(number, len(content)) + content


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


@final
class Numbers:
    """A part of a message that is the same each time but for its doubles and booleans.

    These have one length whatever their value, so that all of it is packed at once.
    """

    def __init__(self, parts: Sequence[bytes | Slot]) -> None:
        self._format = struct.Struct("<" + "".join(_format(part) for part in parts))
        self._values: list[Any] = [part if isinstance(part, bytes) else None for part in parts]
        self._slots = [(place, part) for place, part in enumerate(parts) if isinstance(part, Slot)]

    def pack(self, numbers: Sequence[float]) -> bytes:
        """The bytes with these numbers."""
        values = self._values.copy()
        for place, slot in self._slots:
            values[place] = numbers[slot.index]
        return self._format.pack(*values)


@dataclasses.dataclass(frozen=True)
class Slot:
    """Where the number of this index goes, as a double or a boolean."""

    index: int
    boolean: bool = False


def _format(part: bytes | Slot) -> str:
    return f"{len(part)}s" if isinstance(part, bytes) else "?" if part.boolean else "d"


def number(field: int, slot: Slot) -> list[bytes | Slot]:
    """A field of type double, or bool, as parts."""
    return [_varint(field << 3 | (0 if slot.boolean else _FIXED_64)), slot]


def nested(field: int, parts: Sequence[bytes | Slot]) -> list[bytes | Slot]:
    """A field that is a message of these parts, as parts."""
    length = sum(len(part) if isinstance(part, bytes) else 1 if part.boolean else 8 for part in parts)
    return [_header(field, length), *parts]


def entry(field: int, key: str, slot: Slot) -> list[bytes | Slot]:
    """An entry of a map from string to double, as parts."""
    name = key.encode()
    return nested(field, [_header(1, len(name)) + name, *number(2, slot)])


@final
@dataclasses.dataclass(frozen=True)
class Form:
    """All of the answers that one program makes but their numbers, elements and times.

    Attributes:
        numbers: index of the result that holds the numbers, and the part of the answer that they go to.
        tensors: for each result that is answered, what precedes its elements, and its index.
        timing: number of the field.
    """

    numbers: tuple[int, Numbers] | None
    tensors: tuple[tuple[bytes, int], ...]
    timing: int

    def encode(self, results: Sequence[Array], times: Times) -> bytes:
        """The answer that these results make."""
        pieces: list[Piece] = [times.field(self.timing)]
        if self.numbers is not None:
            index, numbers = self.numbers
            pieces.append(numbers.pack(results[index].tolist()))
        for header, index in self.tensors:
            pieces.append(header)
            pieces.append(_content(results[index]))
        return b"".join(pieces)


def tensor_headers(
    program: Program, maps: Mapping[str, int], within: Mapping[str, int]
) -> tuple[tuple[bytes, int], ...]:
    """What precedes the elements of each result that is answered, and the result's index.

    Args:
        program: whose results.
        maps: number of the field, by group, for groups that are maps from name to tensor.
        within: number of the field, by group, for groups that are of type NamedTensors.
    """
    headers: list[tuple[bytes, int]] = []
    for group, field in maps.items():
        headers += [(header, index) for header, _, index in _group(program, group, field)]
    for group, field in within.items():
        inner = _group(program, group, _BY_NAME)
        length = sum(len(header) + size for header, size, _ in inner)
        # Also where there are none: that it is set says how gradients were answered.
        first = _header(field, length)
        headers += [((first if not place else b"") + header, index) for place, (header, _, index) in enumerate(inner)]
    return tuple(headers)


def _group(program: Program, group: str, field: int) -> list[tuple[bytes, int, int]]:
    return [
        (_entry_header(field, one.array.name, one.array.dtype, one.array.shape), one.array.nbytes, index)
        for index, one in enumerate(program.results)
        if one.group == group
    ]


def encode(answer: Answer[Any]) -> bytes:
    """The answer's bytes."""
    pieces: list[Piece] = [answer.head.SerializeToString()]
    for number, arrays in answer.maps.items():
        pieces += _entries(number, arrays.items())
    for number, arrays in answer.nested.items():
        inner = _entries(_BY_NAME, arrays.items())
        pieces.append(_header(number, sum(len(piece) for piece in inner)))
        pieces += inner
    return b"".join(pieces)


def _entries(number: int, arrays: Iterable[tuple[str, Array]]) -> list[Piece]:
    pieces: list[Piece] = []
    for name, array in arrays:
        pieces.append(_entry_header(number, name, NAMES[array.dtype], array.shape))
        pieces.append(_content(array))
    return pieces


def _content(array: Array) -> Piece:
    if array.nbytes <= _SMALL_BYTES:
        return array.tobytes()
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


@functools.lru_cache(maxsize=8192)
def _entry_header(number: int, name: str, dtype: str, shape: tuple[int, ...]) -> bytes:
    """All of a map's entry but the elements, which come last."""
    kind = DTYPES_BY_NAME[dtype]
    size = kind.itemsize
    for one in shape:
        size *= one
    tensor = tensor_pb2.Tensor(data_type=NUMBERS[kind], shape=shape).SerializeToString()  # type: ignore[arg-type]
    tensor += _header(tensor_pb2.Tensor.DATA_FIELD_NUMBER, size)
    key = _header(1, len(name.encode())) + name.encode()
    value = _header(2, len(tensor) + size) + tensor
    return _header(number, len(key) + len(value) + size) + key + value


def _duration(seconds: float) -> duration_pb2.Duration:
    whole, nanoseconds = divmod(int(seconds * 1e9), 1_000_000_000)
    return duration_pb2.Duration(seconds=whole, nanos=nanoseconds)


@functools.lru_cache(maxsize=1024)
def _counts(batched_requests: int, padded_examples: int) -> bytes:
    return service.Timing(batched_requests=batched_requests, padded_examples=padded_examples).SerializeToString()


def _header(number: int, length: int) -> bytes:
    return _varint(number << 3 | _LENGTH_DELIMITED) + _varint(length)


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 127:
        encoded.append(value & 127 | 128)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)

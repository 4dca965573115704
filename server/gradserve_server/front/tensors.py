"""Tensors of the contract as NumPy arrays, and back: the only code that reads and writes their bytes."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from typing import Any

import ml_dtypes
import msgspec
import numpy as np
import safetensors.numpy
from google.protobuf.unknown_fields import UnknownFieldSet

from gradserve.v1 import tensor_pb2
from gradserve_server.common.errors import Problem, Reason
from gradserve_server.common.specs import describe
from gradserve_server.common.unknown_fields import refuse_unknown
from gradserve_server.front.reading import attached_bytes

Array = np.ndarray[Any, Any]

DTYPES: dict[int, np.dtype[Any]] = {
    value: np.dtype(ml_dtypes.bfloat16 if name == "DATA_TYPE_BFLOAT16" else name.removeprefix("DATA_TYPE_").lower())
    for name, value in tensor_pb2.DataType.items()
    if value != tensor_pb2.DATA_TYPE_UNSPECIFIED
}
NUMBERS = {dtype: number for number, dtype in DTYPES.items()}
DTYPES_BY_NAME = {dtype.name: dtype for dtype in DTYPES.values()}
# NumPy makes the name anew at each asking, which shows in small calls.
NAMES = {dtype: dtype.name for dtype in DTYPES.values()}
FLOATING = frozenset(np.dtype(one) for one in (np.float16, ml_dtypes.bfloat16, np.float32, np.float64))
MOST_AXES = 32

_SAFETENSORS = {
    "BOOL": "bool",
    "I8": "int8",
    "I16": "int16",
    "I32": "int32",
    "I64": "int64",
    "U8": "uint8",
    "U16": "uint16",
    "U32": "uint32",
    "U64": "uint64",
    "F16": "float16",
    "BF16": "bfloat16",
    "F32": "float32",
    "F64": "float64",
}

SAFETENSORS_NAMES = {DTYPES_BY_NAME[name]: theirs for theirs, name in _SAFETENSORS.items()}


def read_tensor(message: tensor_pb2.Tensor, field: str) -> Array:
    """The array in `message`; a read-only view where its elements came as bytes.

    Raises:
        Problem: type, shape and elements do not agree.
    """
    if len(UnknownFieldSet(message)):
        refuse_unknown(message, field)
    dtype = DTYPES.get(message.data_type)
    if dtype is None:
        if message.data_type == tensor_pb2.DATA_TYPE_UNSPECIFIED:
            raise Problem(Reason.INVALID_TENSOR, "the element type is not set", field=f"{field}.data_type")
        refuse_unknown(message, field)
        raise Problem(Reason.UNKNOWN_FIELD, "an element type that is not known", field=f"{field}.data_type")
    shape = tuple(message.shape)
    if len(shape) > MOST_AXES or any(size < 0 for size in shape):
        raise Problem(
            Reason.INVALID_TENSOR,
            "not a shape",
            field=f"{field}.shape",
            given=describe(dtype, shape),
            expected=f"at most {MOST_AXES} sizes of at least 0",
        )
    elements = math.prod(shape)
    # Beside a zero, sizes can be beyond what any array may have and still hold no elements.
    if not elements and math.prod(size or 1 for size in shape) * dtype.itemsize > sys.maxsize:
        raise Problem(
            Reason.INVALID_TENSOR, "its sizes are too large", field=f"{field}.shape", given=describe(dtype, shape)
        )
    content = message.WhichOneof("content")
    if content == "data":
        return _from_bytes(message.data, dtype, shape, f"{field}.data")
    if content == "values":
        return _from_numbers(message.values, dtype, shape, f"{field}.values")
    if content == "attachment":
        attachment = attached_bytes(message.attachment, f"{field}.attachment")
        return _from_bytes(attachment, dtype, shape, f"{field}.attachment")
    raise Problem(Reason.INVALID_TENSOR, "it has no elements", field=field, expected="data or values")


def _from_bytes(data: bytes | memoryview, dtype: np.dtype[Any], shape: tuple[int, ...], field: str) -> Array:
    needed = math.prod(shape) * dtype.itemsize
    if len(data) != needed:
        raise Problem(
            Reason.INVALID_TENSOR,
            "the number of bytes does not fit type and shape",
            field=field,
            given=f"{len(data)} bytes",
            expected=f"{needed} bytes for {describe(dtype, shape)}",
        )
    array: Array = np.frombuffer(data, dtype).reshape(shape)
    if dtype == np.bool_ and array.view(np.uint8).max(initial=0) > 1:
        raise Problem(Reason.INVALID_TENSOR, "a boolean is neither 0 nor 1", field=field)
    return array


def _from_numbers(message: tensor_pb2.Tensor.Values, dtype: np.dtype[Any], shape: tuple[int, ...], field: str) -> Array:
    if len(UnknownFieldSet(message)):
        refuse_unknown(message, field)
    numbers = np.array(message.number, np.float64)
    if numbers.size != math.prod(shape):
        raise Problem(
            Reason.INVALID_TENSOR,
            "the number of values does not fit the shape",
            field=field,
            given=str(numbers.size),
            expected=f"{math.prod(shape)} for {describe(dtype, shape)}",
        )
    with np.errstate(all="ignore"):
        array: Array = numbers.astype(dtype)
        if dtype in FLOATING:
            # Rounding is what was asked for; a number that becomes infinite is not.
            wrong = np.isfinite(numbers) & ~np.isfinite(array.astype(np.float64))
        else:
            wrong = array.astype(np.float64) != numbers
    if wrong.any():
        raise Problem(
            Reason.INVALID_TENSOR,
            f"a number is no {dtype}",
            field=f"{field}.number[{int(np.argmax(wrong))}]",
            given=str(numbers[int(np.argmax(wrong))]),
            expected=str(dtype),
        )
    return array.reshape(shape)


def write_tensor(message: tensor_pb2.Tensor, array: Array) -> None:
    """Writes `array` into an empty `message`."""
    message.data_type = NUMBERS[array.dtype]  # type: ignore[assignment]
    message.shape.extend(array.shape)
    message.data = array.tobytes()


class _Entry(msgspec.Struct):
    dtype: str
    shape: tuple[int, ...]
    data_offsets: tuple[int, int]


_HEADER = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ENTRY = msgspec.json.Decoder(_Entry)
_MOST_HEADER_BYTES = 100_000_000  # as the library has it


def read_safetensors(content: bytes | memoryview, field: str) -> dict[str, Array]:
    """The arrays of a safetensors file, views of its bytes: the library would copy each.

    Raises:
        Problem: it is no such file, or its entries do not fill it one after the other.
    """
    try:
        return _read_safetensors(memoryview(content))
    except (msgspec.MsgspecError, KeyError, ValueError) as error:
        raise Problem(
            Reason.INVALID_TENSOR, f"not a safetensors file ({error})", field=field, given=f"{len(content)} bytes"
        ) from None


def _read_safetensors(content: memoryview) -> dict[str, Array]:
    start = 8 + int.from_bytes(content[:8], "little")
    if len(content) < 8 or start > len(content) or start > _MOST_HEADER_BYTES:
        raise ValueError("its header is longer than the file")
    entries = {
        name: _ENTRY.decode(raw) for name, raw in _HEADER.decode(content[8:start]).items() if name != "__metadata__"
    }
    arrays: dict[str, Array] = {}
    place = 0
    for name, entry in sorted(entries.items(), key=lambda item: item[1].data_offsets):
        dtype = DTYPES_BY_NAME[_SAFETENSORS[entry.dtype]]
        begin, end = entry.data_offsets
        if begin != place or any(size < 0 for size in entry.shape):
            raise ValueError(f"'{name}' does not begin where the one before it ends")
        if end - begin != math.prod(entry.shape) * dtype.itemsize or start + end > len(content):
            raise ValueError(f"'{name}' does not have the bytes that its shape needs")
        array: Array = np.frombuffer(content[start + begin : start + end], dtype).reshape(entry.shape)
        arrays[name] = array
        place = end
    if start + place != len(content):
        raise ValueError("there are bytes after the last entry")
    return arrays


def write_safetensors(arrays: Mapping[str, Array]) -> bytes:
    """The arrays as a safetensors file."""
    return safetensors.numpy.save({name: np.ascontiguousarray(array) for name, array in arrays.items()})

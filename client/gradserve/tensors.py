"""NumPy arrays to and from the contract's `Tensor`: row-major, little-endian, 13 element types."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, TypeAlias

import ml_dtypes
import numpy as np
import numpy.typing as npt
from google.protobuf.message import Message

from gradserve.errors import InvalidRequest, ServerFault
from gradserve.v1 import tensor_pb2

Array: TypeAlias = npt.NDArray[Any]
"""An array of any element type."""

ArrayLike: TypeAlias = Any
"""What `numpy.asarray` takes: arrays (of JAX and PyTorch too), numbers, nested lists."""

DTypeLike: TypeAlias = Any
"""An element type: ``"float32"``, ``"bfloat16"``, ``numpy.int8``, ``numpy.dtype(...)``."""

_BY_NAME: dict[str, tensor_pb2.DataType] = {
    "bool": tensor_pb2.DATA_TYPE_BOOL,
    "int8": tensor_pb2.DATA_TYPE_INT8,
    "int16": tensor_pb2.DATA_TYPE_INT16,
    "int32": tensor_pb2.DATA_TYPE_INT32,
    "int64": tensor_pb2.DATA_TYPE_INT64,
    "uint8": tensor_pb2.DATA_TYPE_UINT8,
    "uint16": tensor_pb2.DATA_TYPE_UINT16,
    "uint32": tensor_pb2.DATA_TYPE_UINT32,
    "uint64": tensor_pb2.DATA_TYPE_UINT64,
    "float16": tensor_pb2.DATA_TYPE_FLOAT16,
    "bfloat16": tensor_pb2.DATA_TYPE_BFLOAT16,
    "float32": tensor_pb2.DATA_TYPE_FLOAT32,
    "float64": tensor_pb2.DATA_TYPE_FLOAT64,
}


def _dtype(name: str) -> np.dtype[Any]:
    # `numpy.dtype("bfloat16")` depends on what else has been imported.
    return np.dtype(ml_dtypes.bfloat16) if name == "bfloat16" else np.dtype(name)


DTYPES: tuple[np.dtype[Any], ...] = tuple(_dtype(name) for name in _BY_NAME)
"""The element types that travel."""

# Little-endian, which is the byte order of nearly every machine as well.
_TO_WIRE = {_dtype(name).newbyteorder("<"): number for name, number in _BY_NAME.items()}
_FROM_WIRE = {int(number): dtype for dtype, number in _TO_WIRE.items()}


def to_dtype(name: DTypeLike, field: str = "dtype") -> np.dtype[Any]:
    """The NumPy element type of that name.

    Raises:
        InvalidRequest: it is none of the 13 that travel.
    """
    try:
        dtype = _dtype(name) if isinstance(name, str) else np.dtype(name)
    except TypeError:
        dtype = None
    if dtype is None or dtype.newbyteorder("<") not in _TO_WIRE:
        raise InvalidRequest.because("not an element type that travels", field=field, given=name, expected=_names())
    return dtype.newbyteorder("=")


def to_data_type(dtype: np.dtype[Any]) -> tensor_pb2.DataType:
    """The contract's number for an element type that `to_dtype` or `to_array` gave."""
    return _TO_WIRE[dtype.newbyteorder("<")]


def from_data_type(number: int) -> np.dtype[Any] | None:
    """The NumPy element type for the contract's number; None where it is not set."""
    return _FROM_WIRE.get(number)


def to_array(value: ArrayLike, field: str) -> Array:
    """`value` as an array that can go on the wire: row-major, little-endian, a type that travels.

    The array itself where it is that already, a converted copy otherwise. Axes are never added.

    Raises:
        InvalidRequest: no array can be made of it, or its element type does not travel.
    """
    try:
        array = np.asarray(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidRequest.because(
            f"no array can be made of this ({error})",
            field=field,
            given=type(value).__name__,
            expected="an array, or numbers in lists of equal lengths",
        ) from None
    if array.dtype not in _TO_WIRE:
        wire = array.dtype.newbyteorder("<")
        if wire not in _TO_WIRE:
            raise InvalidRequest.because(
                "elements of this type do not travel",
                field=field,
                given=array.dtype,
                expected=_names(),
            )
        array = array.astype(wire)
    # `ascontiguousarray` would give a scalar an axis.
    return array if array.flags.c_contiguous else np.array(array, order="C")


def to_tensor(value: ArrayLike, field: str) -> tensor_pb2.Tensor:
    """`value` as a message of its own, for constants; batches and weights take `wire`."""
    array = to_array(value, field)
    return tensor_pb2.Tensor(data_type=_TO_WIRE[array.dtype], shape=array.shape, data=array.tobytes())


Attachments: TypeAlias = Mapping[int, memoryview]
"""Bytes that followed an answer on a stream, by number."""


def from_tensor(tensor: tensor_pb2.Tensor, attachments: Attachments = MappingProxyType({})) -> Array:
    """The array of a message: a view of its bytes, read-only where they came within the message.

    Raises:
        ServerFault: type, shape and bytes do not agree.
    """
    dtype = _FROM_WIRE.get(tensor.data_type)
    if dtype is None:
        raise ServerFault(f"a tensor of the answer has data type {tensor.data_type}")
    shape = tuple(tensor.shape)
    data: bytes | memoryview = tensor.data
    if not data and tensor.HasField("attachment"):
        data = attachments.get(tensor.attachment.number, b"")
    try:
        if not data and tensor.HasField("values"):
            return np.array(tensor.values.number, np.float64).astype(dtype).reshape(shape)
        # The constructor takes less time than `frombuffer` and `reshape`, and allows what is left over.
        if len(data) != math.prod(shape) * dtype.itemsize:
            raise ValueError(f"{len(data)} bytes")
        return np.ndarray(shape, dtype, data)
    except ValueError as error:
        raise ServerFault(f"a tensor of the answer does not fit its shape {shape}: {error}") from None


def has_dtype(value: object) -> bool:
    """Whether `value` has an element type of its own, other than numbers and lists."""
    return hasattr(value, "dtype")


def message_bytes(message: Message) -> bytes:
    """The message in its one canonical serialization."""
    return message.SerializeToString(deterministic=True)


def _names() -> str:
    return f"one of {', '.join(_BY_NAME)}"

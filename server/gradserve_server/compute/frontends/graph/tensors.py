"""The tensors that a definition itself holds (constants) as NumPy arrays."""

from __future__ import annotations

import math
from typing import Any

import ml_dtypes
import numpy as np

from gradserve.v1 import tensor_pb2
from gradserve_server.common.errors import Problem, Reason
from gradserve_server.common.specs import Limits


def read_tensor(message: tensor_pb2.Tensor, field: str, limits: Limits) -> np.ndarray[Any, Any]:
    """The array in `message`.

    Raises:
        Problem: type, shape and bytes do not agree.
    """
    if message.data_type == tensor_pb2.DATA_TYPE_UNSPECIFIED:
        raise Problem(Reason.INVALID_TENSOR, "the element type is not set", field=f"{field}.data_type")
    name = tensor_pb2.DataType.Name(message.data_type).removeprefix("DATA_TYPE_").lower()
    dtype: Any = np.dtype(ml_dtypes.bfloat16) if name == "bfloat16" else np.dtype(name)
    shape = tuple(message.shape)
    if any(size < 0 for size in shape) or len(shape) > limits.axes:
        raise Problem(Reason.INVALID_TENSOR, "not a shape", field=f"{field}.shape", given=str(shape))
    elements = math.prod(shape)
    content = message.WhichOneof("content")
    if content == "data":
        if len(message.data) != elements * dtype.itemsize:
            raise Problem(
                Reason.INVALID_TENSOR,
                "the number of bytes does not fit type and shape",
                field=f"{field}.data",
                given=f"{len(message.data)} bytes",
                expected=f"{elements * dtype.itemsize} bytes",
            )
        return np.frombuffer(message.data, dtype).reshape(shape)
    if content == "values":
        numbers = np.array(message.values.number, np.float64)
        if numbers.size != elements:
            raise Problem(
                Reason.INVALID_TENSOR,
                "the number of values does not fit the shape",
                field=f"{field}.values",
                given=str(numbers.size),
                expected=str(elements),
            )
        with np.errstate(all="ignore"):
            array = numbers.astype(dtype)
        exact = np.issubdtype(dtype, np.floating) or name == "bfloat16"
        if not exact and not np.array_equal(array.astype(np.float64), numbers):
            raise Problem(Reason.INVALID_TENSOR, f"a number is no {name}", field=f"{field}.values")
        return array.reshape(shape)
    raise Problem(Reason.INVALID_TENSOR, "a tensor needs data or values", field=field)

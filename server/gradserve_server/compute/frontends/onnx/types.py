"""Element types of ONNX as those of NumPy."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
from onnx import TensorProto

from gradserve_server.common.errors import Problem, Reason

DTYPES: dict[int, np.dtype[Any]] = {
    TensorProto.FLOAT: np.dtype(np.float32),
    TensorProto.DOUBLE: np.dtype(np.float64),
    TensorProto.FLOAT16: np.dtype(np.float16),
    TensorProto.BFLOAT16: np.dtype(ml_dtypes.bfloat16),
    TensorProto.BOOL: np.dtype(np.bool_),
    TensorProto.INT8: np.dtype(np.int8),
    TensorProto.INT16: np.dtype(np.int16),
    TensorProto.INT32: np.dtype(np.int32),
    TensorProto.INT64: np.dtype(np.int64),
    TensorProto.UINT8: np.dtype(np.uint8),
    TensorProto.UINT16: np.dtype(np.uint16),
    TensorProto.UINT32: np.dtype(np.uint32),
    TensorProto.UINT64: np.dtype(np.uint64),
}
NUMBERS = {dtype: number for number, dtype in DTYPES.items()}
FLOATING = frozenset(np.dtype(one) for one in (np.float16, ml_dtypes.bfloat16, np.float32, np.float64))


def dtype_of(number: int, *, field: str = "", node: str = "") -> np.dtype[Any]:
    """NumPy's type of the element type `number`.

    Raises:
        Problem: there is none, or it is not served.
    """
    dtype = DTYPES.get(number)
    if dtype is None:
        try:
            name = TensorProto.DataType.Name(number)
        except ValueError:
            name = str(number)
        raise Problem(
            Reason.UNSUPPORTED_OPERATION,
            "this element type is not served",
            field=field,
            node=node,
            given=name,
            expected=", ".join(one.name for one in DTYPES.values()),
        )
    return dtype

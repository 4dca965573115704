"""Other element types."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
from onnx import TensorProto

from gradserve_server.compute.frontends.onnx.call import Call, to_jax
from gradserve_server.compute.frontends.onnx.table import Value, operator


@operator("Cast", 6, 9, 13, 19, 21, 23, 24, 25, 28, folds=True)
def cast(call: Call) -> Value:
    return _cast(call.input(0), call.dtype(call.attribute("to")))


@operator("CastLike", 15, 19, 21, 23, 24, 25, folds=True, forms_only=(1,))
def cast_like(call: Call) -> Value:
    like = call.inputs[1]
    return _cast(call.input(0), np.dtype(np.int64) if like.dtype == object else like.dtype)


def _cast(x: Any, dtype: np.dtype[Any]) -> Any:
    if isinstance(x, np.ndarray) and x.dtype == object:
        if np.issubdtype(dtype, np.integer):
            # Sizes, which stay symbols.
            return x
        x = to_jax(x)
    return x.astype(dtype)


@operator("BitCast", 26)
def bit_cast(call: Call) -> Value:
    number = call.attribute("to")
    x = call.input(0)
    if number == TensorProto.BOOL or x.dtype == bool:
        wide = x.astype(np.uint8) if x.dtype == bool else x
        return (wide != 0) if number == TensorProto.BOOL else jax.lax.bitcast_convert_type(wide, call.dtype(number))
    # Bits are those of the types that the model names, whatever precision is asked for.
    return jax.lax.bitcast_convert_type(x, call.dtype(number))

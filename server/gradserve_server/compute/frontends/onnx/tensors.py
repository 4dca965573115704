"""Tensors of a model as NumPy arrays."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnx
import onnx.numpy_helper

from gradserve_server.common.errors import Problem, Reason
from gradserve_server.common.memory import aligned
from gradserve_server.common.specs import Limits
from gradserve_server.compute.frontends.onnx.types import dtype_of

Array = np.ndarray[Any, Any]


def read_tensor(message: onnx.TensorProto, limits: Limits, *, node: str = "") -> Array:
    """The array in `message`, in aligned memory of its own so that XLA can use it in place.

    Raises:
        Problem: it lies outside the model, or type, shape and elements do not agree.
    """
    name = f"tensor '{message.name}'" if message.name else "a tensor"
    field = f"network.{message.name}" if message.name else "network"
    if message.data_location == onnx.TensorProto.EXTERNAL or len(message.external_data):
        raise Problem(
            Reason.UNSUPPORTED_OPERATION,
            f"{name} lies outside the model, and the server reads no files",
            field=field,
            node=node,
            hint="Save the model with its tensors inside.",
        )
    if message.HasField("segment"):
        raise Problem(Reason.UNSUPPORTED_OPERATION, f"{name} comes in segments", field=field, node=node)
    dtype = dtype_of(message.data_type, field=field, node=node)
    shape = tuple(message.dims)
    if any(size < 0 for size in shape) or len(shape) > limits.axes:
        raise Problem(Reason.INVALID_TENSOR, f"{name} has no valid shape", field=field, node=node, given=str(shape))
    elements = math.prod(shape)
    if message.HasField("raw_data"):
        if len(message.raw_data) != elements * dtype.itemsize:
            raise Problem(
                Reason.INVALID_TENSOR,
                f"the number of bytes of {name} does not fit type and shape",
                field=field,
                node=node,
                given=f"{len(message.raw_data)} bytes",
                expected=f"{elements * dtype.itemsize} bytes",
            )
        found = np.frombuffer(message.raw_data, np.uint8 if dtype == np.bool_ else dtype)
    else:
        stored = max(
            len(message.float_data),
            len(message.double_data),
            len(message.int32_data),
            len(message.int64_data),
            len(message.uint64_data),
        )
        if stored != elements:
            raise Problem(
                Reason.INVALID_TENSOR,
                f"the number of elements of {name} does not fit its shape",
                field=field,
                node=node,
                given=str(stored),
                expected=str(elements),
            )
        try:
            found = np.asarray(onnx.numpy_helper.to_array(message))
        except (ValueError, TypeError, OverflowError, RuntimeError) as error:
            raise Problem(Reason.INVALID_TENSOR, f"{name} cannot be read ({error})", field=field, node=node) from None
    memory = aligned(elements * dtype.itemsize)[: elements * dtype.itemsize].view(dtype).reshape(shape)
    np.copyto(memory, found.reshape(shape), casting="unsafe")
    memory.setflags(write=False)
    return memory

"""Values that a graph holds itself."""

from __future__ import annotations

import numpy as np

from gradserve.v1 import network_pb2, tensor_pb2
from tests.conformance.operations.rows.row import Row


def _values() -> list[Row]:
    value = tensor_pb2.Tensor(
        data_type=tensor_pb2.DATA_TYPE_INT32, shape=[2], values=tensor_pb2.Tensor.Values(number=[3, -4])
    )
    return [
        Row("parameter", "parameter", network_pb2.Parameter(shape=[2, 3]), (), lambda w: w[""], examples=None),
        Row(
            "constant number",
            "constant",
            network_pb2.Constant(number=2.5),
            (),
            lambda w: np.asarray(2.5),
            examples=None,
        ),
        Row(
            "constant tensor",
            "constant",
            network_pb2.Constant(value=value),
            (),
            lambda w: np.array([3, -4], np.int32),
            examples=None,
        ),
    ]


ROWS = [*_values()]

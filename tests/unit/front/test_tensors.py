"""Tensors and safetensors files: what goes in comes out, and what does not add up is refused."""

from __future__ import annotations

import math

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from gradserve.v1 import tensor_pb2
from gradserve_server.common.errors import Problem, Reason
from gradserve_server.front.tensors import DTYPES, read_safetensors, read_tensor, write_safetensors, write_tensor

ANY_ARRAY = st.sampled_from([dtype for dtype in DTYPES.values() if dtype != ml_dtypes.bfloat16]).flatmap(
    lambda dtype: arrays.arrays(dtype, arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4))
)
FLOAT32 = tensor_pb2.DATA_TYPE_FLOAT32


def refusal(message: tensor_pb2.Tensor) -> Problem:
    with pytest.raises(Problem) as caught:
        read_tensor(message, "batch.x")
    return caught.value


def numbers(dtype: str, *values: float) -> tensor_pb2.Tensor:
    kind = tensor_pb2.DataType.Value(f"DATA_TYPE_{dtype.upper()}")
    return tensor_pb2.Tensor(data_type=kind, shape=[len(values)], values={"number": values})


@given(ANY_ARRAY)
def test_an_array_comes_back_bit_for_bit(array: np.ndarray) -> None:
    message = tensor_pb2.Tensor()
    write_tensor(message, array)
    back = read_tensor(message, "x")
    assert (back.dtype, back.shape) == (array.dtype, array.shape)
    assert back.tobytes() == array.tobytes()


def test_every_element_type_of_the_contract_is_known() -> None:
    names = {value: name for name, value in tensor_pb2.DataType.items() if value}
    assert {number: f"DATA_TYPE_{dtype.name.upper()}" for number, dtype in DTYPES.items()} == names


def test_bfloat16_comes_back_bit_for_bit() -> None:
    array = np.array([[1.5, -2.0], [math.inf, 3e38]], ml_dtypes.bfloat16)
    message = tensor_pb2.Tensor()
    write_tensor(message, array)
    assert read_tensor(message, "x").tobytes() == array.tobytes()
    assert read_safetensors(write_safetensors({"a": array}), "w")["a"].tobytes() == array.tobytes()


def test_arrays_that_are_not_contiguous_are_written_row_major() -> None:
    array = np.arange(6, dtype=np.float32).reshape(2, 3).T
    message = tensor_pb2.Tensor()
    write_tensor(message, array)
    np.testing.assert_array_equal(read_tensor(message, "x"), array)
    np.testing.assert_array_equal(read_safetensors(write_safetensors({"a": array}), "w")["a"], array)


@pytest.mark.parametrize(
    ("shape", "data"),
    [
        ((3,), bytes(8)),
        ((2,), bytes(9)),
        ((-1,), b""),
        ((2**40, 2**40), b""),
        ((2**62, 4), b""),  # 2^64 elements: nought in 64 bits
        ((2**62, 2**62, 0), b""),  # no elements, and beyond any array
        ((1,) * 33, bytes(4)),
    ],
)
def test_a_shape_that_does_not_fit_the_bytes_is_refused(shape: tuple[int, ...], data: bytes) -> None:
    problem = refusal(tensor_pb2.Tensor(data_type=FLOAT32, shape=shape, data=data))
    assert problem.reason is Reason.INVALID_TENSOR
    assert problem.metadata["field"].startswith("batch.x.")


@pytest.mark.parametrize(
    ("dtype", "value"),
    [
        *(("uint8", value) for value in (256.0, -1.0, 0.5, math.nan, math.inf)),
        *(("int64", value) for value in (2.0**63, -math.inf, 1e300)),
        *(("uint64", value) for value in (2.0**64, -1.0)),
        *(("bool", value) for value in (2.0, -1.0, math.nan)),
        *(("float16", value) for value in (65520.0, -1e30)),
        ("float32", 1e39),
    ],
)
def test_a_number_that_its_type_cannot_hold_is_refused(dtype: str, value: float) -> None:
    problem = refusal(numbers(dtype, 0.0, value))
    assert problem.reason is Reason.INVALID_TENSOR
    assert problem.metadata["field"] == "batch.x.values.number[1]"


def test_numbers_are_converted() -> None:
    np.testing.assert_array_equal(read_tensor(numbers("int8", -128.0, 127.0), "x"), np.array([-128, 127], np.int8))
    found = read_tensor(numbers("float16", 0.1, math.inf, math.nan), "x")
    np.testing.assert_array_equal(found, np.array([0.1, math.inf, math.nan], np.float16))


@pytest.mark.parametrize(
    ("message", "reason", "field"),
    [
        (tensor_pb2.Tensor(data=b""), Reason.INVALID_TENSOR, "batch.x.data_type"),
        (tensor_pb2.Tensor(data_type=77, data=b""), Reason.UNKNOWN_FIELD, "batch.x.data_type"),  # type: ignore[arg-type]
        (tensor_pb2.Tensor(data_type=FLOAT32), Reason.INVALID_TENSOR, "batch.x"),
        (tensor_pb2.Tensor(data_type=1, shape=[1], data=b"\2"), Reason.INVALID_TENSOR, "batch.x.data"),  # type: ignore[arg-type]
        (tensor_pb2.Tensor(data_type=FLOAT32, attachment={}), Reason.INVALID_TENSOR, "batch.x.attachment"),
        (tensor_pb2.Tensor(data_type=FLOAT32, shape=[2], values={}), Reason.INVALID_TENSOR, "batch.x.values"),
    ],
)
def test_what_is_no_tensor_is_refused_with_its_place(message: tensor_pb2.Tensor, reason: Reason, field: str) -> None:
    problem = refusal(message)
    assert (problem.reason, problem.metadata["field"]) == (reason, field)


def file(header: bytes, data: bytes = b"") -> bytes:
    return len(header).to_bytes(8, "little") + header + data


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"nonsense",
        (1 << 62).to_bytes(8, "little"),
        file(b'{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}', bytes(4)),
        file(b'{"w":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}', bytes(8)),
        file(b'{"w":{"dtype":"F8_E4M3","shape":[1],"data_offsets":[0,1]}}', bytes(1)),
        file(b'{"w":{"dtype":"F32","shape":[4611686018427387904,4611686018427387904,0],"data_offsets":[0,0]}}'),
    ],
)
def test_what_is_no_safetensors_file_is_refused(content: bytes) -> None:
    with pytest.raises(Problem) as caught:
        read_safetensors(content, "weights.safetensors")
    assert caught.value.reason is Reason.INVALID_TENSOR
    assert caught.value.metadata["field"] == "weights.safetensors"

"""NumPy arrays to the wire and back."""

import hypothesis.extra.numpy as hnp
import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import gradserve as gs
from gradserve import tensors
from gradserve.v1 import tensor_pb2


@st.composite
def arrays(draw):
    """Arrays of every element type, of any shape up to 4 axes, in any layout and byte order."""
    dtype = draw(st.sampled_from(tensors.DTYPES))
    shape = draw(hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4))
    bits = draw(hnp.arrays(np.uint8, (*shape, dtype.itemsize)))
    if dtype == np.bool_:
        bits = bits % 2
    array = np.ascontiguousarray(bits).view(dtype).reshape(shape)
    layout = draw(st.sampled_from(["row-major", "column-major", "reversed", "big-endian"]))
    if layout == "column-major":
        array = np.asarray(array, order="F")
    elif layout == "reversed" and array.ndim:
        array = array[::-1]
    elif layout == "big-endian" and dtype != ml_dtypes.bfloat16:
        array = array.astype(dtype.newbyteorder(">"))
    return array


def same_bits(a, b):
    little = a.dtype.newbyteorder("<")
    return a.shape == b.shape and a.astype(little).tobytes() == b.astype(little).tobytes()


@given(arrays())
def test_an_array_survives_the_round_trip_bit_by_bit(array):
    message = tensors.to_tensor(array, "x")
    back = tensors.from_tensor(tensor_pb2.Tensor.FromString(message.SerializeToString()))
    assert back.dtype == array.dtype.newbyteorder("=")
    assert same_bits(array, back)


@given(arrays())
def test_what_goes_on_the_wire_is_row_major_and_little_endian(array):
    sent = tensors.to_array(array, "x")
    assert sent.flags.c_contiguous
    assert sent.dtype == sent.dtype.newbyteorder("<")
    assert sent.shape == array.shape
    message = tensors.to_tensor(array, "x")
    assert len(message.data) == array.size * array.dtype.itemsize


def test_the_element_types_are_those_of_the_contract():
    numbers = {int(tensors.to_data_type(dtype)) for dtype in tensors.DTYPES}
    assert numbers == set(tensor_pb2.DataType.values()) - {0}
    for dtype in tensors.DTYPES:
        name = tensor_pb2.DataType.Name(tensors.to_data_type(dtype))
        assert name == f"DATA_TYPE_{dtype.name.upper()}"
        assert tensors.from_data_type(tensors.to_data_type(dtype)) == dtype
        assert tensors.to_dtype(dtype.name) == dtype


def test_an_array_that_is_ready_is_not_copied():
    array = np.ones((2, 3), np.float32)
    assert tensors.to_array(array, "x") is array


@pytest.mark.parametrize("value", [1.5, np.float32(1.5), np.array(1.5)])
def test_a_scalar_has_no_axes(value):
    assert tensors.to_array(value, "x").shape == ()


@pytest.mark.parametrize(
    "value",
    [
        np.array([1j]),
        np.array(["a"]),
        np.array([None]),
        np.array([0], "datetime64[s]"),
        np.zeros(2, np.longdouble),
        np.zeros(2, ml_dtypes.float8_e4m3fn),
        [[1.0], [1.0, 2.0]],
        object(),
    ],
)
def test_what_does_not_travel_is_refused_by_its_path(value):
    with pytest.raises(gs.InvalidRequest, match=r"^batch\.x: ") as caught:
        tensors.to_array(value, "batch.x")
    assert caught.value.field == "batch.x"
    assert caught.value.given
    assert caught.value.expected


@pytest.mark.parametrize("name", ["float", "float31", "complex64", "f8,f8", 3.5])
def test_an_unknown_element_type_is_refused_or_numpy_s_own(name):
    if name == "float":
        assert tensors.to_dtype(name) == np.float64
        return
    with pytest.raises(gs.InvalidRequest, match="float32"):
        tensors.to_dtype(name)


def test_numbers_of_an_answer_are_read_in_their_type():
    message = tensor_pb2.Tensor(
        data_type=tensor_pb2.DATA_TYPE_BFLOAT16,
        shape=[2],
        values=tensor_pb2.Tensor.Values(number=[1.5, -2.0]),
    )
    array = tensors.from_tensor(message)
    assert array.dtype == ml_dtypes.bfloat16
    assert array.astype(float).tolist() == [1.5, -2.0]


@pytest.mark.parametrize(
    "message",
    [
        tensor_pb2.Tensor(data=b"1234"),
        tensor_pb2.Tensor(data_type=12, shape=[2], data=b"1234"),
        tensor_pb2.Tensor(data_type=12, shape=[1], data=b"123"),
        tensor_pb2.Tensor(data_type=99, shape=[1], data=b"1"),
    ],
)
def test_an_answer_that_does_not_agree_with_itself_is_the_server_s_fault(message):
    with pytest.raises(gs.ServerFault):
        tensors.from_tensor(message)


def test_arrays_of_an_answer_are_views_of_its_bytes():
    array = tensors.from_tensor(tensors.to_tensor(np.arange(3.0), "x"))
    assert not array.flags.writeable
    assert not array.flags.owndata

"""The element types that batches and weights are sent with."""

import ml_dtypes
import numpy as np
import pytest

import gradserve as gs
from gradserve.casting import batch_array, weight_arrays

F32 = np.dtype("float32")
F64 = np.dtype("float64")


@pytest.mark.parametrize(
    ("value", "declared", "double", "sent"),
    [
        # Arrays: float64 becomes float32 where nobody wants it, all else stays.
        (np.zeros(2), "float32", False, "float32"),
        (np.zeros(2), "float32", True, "float64"),
        (np.zeros(2), "float64", False, "float64"),
        (np.zeros(2), None, False, "float32"),
        (np.zeros(2), None, True, "float64"),
        (np.zeros(2), "int32", False, "float64"),
        (np.zeros(2), "bfloat16", False, "float64"),
        (np.float64(1.0), "float32", False, "float32"),
        (np.zeros(2, ">f8"), "float32", False, "float32"),
        (np.zeros(2, "float16"), "float32", False, "float16"),
        (np.zeros(2, ml_dtypes.bfloat16), "float32", False, "bfloat16"),
        (np.zeros(2, "int64"), "float32", False, "int64"),
        (np.zeros(2, "int64"), "int32", False, "int64"),
        (np.zeros(2, "int64"), None, False, "int64"),
        (np.zeros(2, "uint8"), "float32", False, "uint8"),
        # Lists and numbers follow what is declared.
        ([1.0, 2.0], "float32", False, "float32"),
        ([1.0, 2.0], "float64", False, "float64"),
        ([1.0, 2.0], "float16", False, "float16"),
        ([1.0, 2.0], "bfloat16", False, "bfloat16"),
        ([1.0, 2.0], None, False, "float32"),
        ([1.0, 2.0], None, True, "float64"),
        (3.5, "float32", False, "float32"),
        ([1, 2], "float32", False, "float32"),
        ([1, 2], "int32", False, "int32"),
        ([1, 255], "uint8", False, "uint8"),
        ([1, 2], None, False, "int64"),
        ([True, False], "bool", False, "bool"),
        ([], "int32", False, "int32"),
        # What would lose something goes as it is, and the server says what it takes.
        ([1.5], "int32", False, "float64"),
        ([True], "float32", False, "bool"),
        ([1], "bool", False, "int64"),
    ],
)
def test_batches(value, declared, double, sent):
    dtype = None if declared is None else gs.spec(dtype=declared).dtype
    array = batch_array(value, dtype, double, "batch.x")
    assert array.dtype.name == sent
    assert array.shape == np.shape(value)
    assert np.array_equal(array.astype(F64), np.asarray(value).astype(F64))


def test_an_integer_that_does_not_fit_is_refused():
    with pytest.raises(gs.InvalidRequest, match="-1 to 256, expected 0 to 255") as caught:
        batch_array([-1, 256], np.dtype("uint8"), False, "batch.x")
    assert caught.value.field == "batch.x"


@pytest.mark.parametrize(
    ("weights", "types", "double"),
    [
        ({"a": np.zeros(2)}, {"a": "float64"}, True),
        ({"a": np.zeros(2, ">f8")}, {"a": "float64"}, True),
        ({"a": np.zeros(2, F32)}, {"a": "float32"}, False),
        ({"a": 0.5, "b": [1, 2]}, {"a": "float32", "b": "float32"}, False),
        ({"a": 0.5, "b": np.zeros(2)}, {"a": "float64", "b": "float64"}, True),
        ({"a": 0.5, "b": np.zeros(2, F32)}, {"a": "float32", "b": "float32"}, False),
        ({}, {}, False),
    ],
)
def test_weights(weights, types, double):
    arrays, found = weight_arrays(weights)
    assert {name: array.dtype.name for name, array in arrays.items()} == types
    assert found is double

"""Comparing, choosing, converting, indexing and ranking."""

from __future__ import annotations

from gradserve.errors import InvalidRequest
from gradserve.layers.base import Layer, axis_of, layer, whole
from gradserve.tensors import DTypeLike, to_data_type, to_dtype
from gradserve.v1 import network_pb2

_Compare = network_pb2.Compare


def equal(name: str | None = None) -> Layer:
    """Inputs a, b: where a == b; the result is boolean."""
    return layer("equal", name, compare=_Compare(function=_Compare.FUNCTION_EQUAL))


def not_equal(name: str | None = None) -> Layer:
    """Inputs a, b: where a != b; the result is boolean."""
    return layer("not_equal", name, compare=_Compare(function=_Compare.FUNCTION_NOT_EQUAL))


def less(name: str | None = None) -> Layer:
    """Inputs a, b: where a < b; the result is boolean."""
    return layer("less", name, compare=_Compare(function=_Compare.FUNCTION_LESS))


def less_or_equal(name: str | None = None) -> Layer:
    """Inputs a, b: where a <= b; the result is boolean."""
    return layer("less_or_equal", name, compare=_Compare(function=_Compare.FUNCTION_LESS_OR_EQUAL))


def greater(name: str | None = None) -> Layer:
    """Inputs a, b: where a > b; the result is boolean."""
    return layer("greater", name, compare=_Compare(function=_Compare.FUNCTION_GREATER))


def greater_or_equal(name: str | None = None) -> Layer:
    """Inputs a, b: where a >= b; the result is boolean."""
    return layer("greater_or_equal", name, compare=_Compare(function=_Compare.FUNCTION_GREATER_OR_EQUAL))


def select(name: str | None = None) -> Layer:
    """Inputs condition, a, b: a where the condition holds, else b.

    What is not selected gets a gradient of zero, even where it is not finite. The gradient of what it
    was computed from can still become zero times infinity: keep its inputs in their domain as well.
    """
    return layer("select", name, select=network_pb2.Select())


def cast(dtype: DTypeLike, name: str | None = None) -> Layer:
    """Another element type. No gradient flows through integers and booleans.

    Args:
        dtype: the type; every floating one stands for that of the forward pass.
        name: name of the node; ``cast_1``, ... if None.
    """
    return layer("cast", name, cast=network_pb2.Cast(data_type=to_data_type(to_dtype(dtype, "cast.dtype"))))


def gather(axis: int = 0, aligned: bool = False, name: str | None = None) -> Layer:
    """Inputs values, integer indices: the elements that the indices name along an axis.

    An index outside the axis is an error where it comes with the batch, and is clamped where it is
    computed.

    Args:
        axis: the axis of the values, negative from the end.
        aligned: the indices have the shape of the values but for this axis, which may be missing (NumPy's
            take_along_axis). If false, they replace the axis by all of theirs (NumPy's take).
        name: name of the node; ``gather_1``, ... if None.
    """
    message = network_pb2.Gather(aligned=aligned)
    if axis != 0:
        message.axis = axis_of(axis, "gather.axis")
    return layer("gather", name, gather=message)


def arange(size: int | None = None, axis: int | None = None, name: str | None = None) -> Layer:
    """0, 1, 2 and so on, as a vector of int32.

    Args:
        size: how many; the layer takes no input then.
        axis: as many as this axis of the one input has, instead.
        name: name of the node; ``arange_1``, ... if None.

    Raises:
        InvalidRequest: both or neither are given.
    """
    if (size is None) == (axis is None):
        raise InvalidRequest.because(
            "one length is needed", field="arange", given=f"size={size}, axis={axis}", expected="size or axis"
        )
    message = (
        network_pb2.Range(axis=axis_of(axis, "arange.axis"))
        if size is None
        else network_pb2.Range(size=whole(size, "arange.size"))
    )
    return layer("arange", name, range=message)


def top_k(k: int, indices: bool = False, name: str | None = None) -> Layer:
    """The `k` largest elements along the last axis, in falling order.

    Args:
        k: how many.
        indices: their places (int32) rather than their values.
        name: name of the node; ``top_k_1``, ... if None.
    """
    return layer("top_k", name, top_k=network_pb2.TopK(k=whole(k, "top_k.k"), indices=indices))

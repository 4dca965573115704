"""What moves elements and computes nothing."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
from jax.errors import InconclusiveDimensionOperation

from gradserve.v1 import network_pb2
from gradserve_server.common.errors import Problem, Reason
from gradserve_server.compute.frontends.graph.call import Call, Value, form, promote
from gradserve_server.compute.frontends.graph.table import operation


@operation("reshape", moves_only=True)
def reshape(call: Call[network_pb2.Reshape]) -> Value:
    """The same elements in the same order, in another shape."""
    x = call.array()
    given = list(call.attributes.shape)
    if len(given) > call.scope.limits.axes:
        raise call.refuse("shape", "too many axes", given=str(len(given)), expected=f"at most {call.scope.limits.axes}")
    if any(size < -1 for size in given) or given.count(-1) > 1:
        raise call.refuse(
            "shape", "not a shape", given=str(given), expected="sizes, 0 to keep an axis, and one -1 at most"
        )
    kept = [axis for axis, size in enumerate(given) if size == 0]
    if kept and kept[-1] >= x.ndim:
        raise call.refuse(
            "shape", f"entry {kept[-1]} keeps an axis that the input does not have", given=str(given), expected=form(x)
        )
    # What is kept cancels, so that an axis whose size is only a name does not come into it.
    have: Any = math.prod(size for axis, size in enumerate(x.shape) if axis not in kept)
    want = math.prod(size for size in given if size > 0)
    free = _quotient(have, want) if -1 in given else 1
    if free is None or (-1 not in given and have != want):
        raise call.refuse(
            "shape",
            "the elements of the input do not fit this shape",
            given=str(given),
            expected=f"{have} elements beside the axes that are kept" if kept else f"{have} elements",
        )
    sizes = [x.shape[axis] if size == 0 else free if size == -1 else size for axis, size in enumerate(given)]
    return x.reshape(tuple(sizes))


def _quotient(have: Any, want: int) -> Any:
    """`have` / `want` where that is whole, for every size that a named axis may have; else None."""
    try:
        return have // want if have % want == 0 else None
    except InconclusiveDimensionOperation:
        return None


@operation("transpose", moves_only=True)
def transpose(call: Call[network_pb2.Transpose]) -> Value:
    """The axes in another order."""
    x = call.array()
    given = list(call.attributes.axes)
    axes = [call.axis(axis, x.ndim, "axes") for axis in given] or list(reversed(range(x.ndim)))
    if sorted(axes) != list(range(x.ndim)):
        raise call.refuse(
            "axes", "not an order of the input's axes", given=str(given), expected=f"each of {x.ndim} once"
        )
    return jnp.transpose(x, axes)


@operation("concatenate", inputs=(2, None))
def concatenate(call: Call[network_pb2.Concatenate]) -> Value:
    """The inputs side by side along an axis."""
    arrays = promote(call, call.inputs)
    rank = arrays[0].ndim
    axis = _required_axis(call, rank)
    for index, array in enumerate(arrays):
        agrees = array.ndim == rank and all(
            size == other
            for place, (size, other) in enumerate(zip(array.shape, arrays[0].shape, strict=True))
            if place != axis
        )
        if not agrees:
            raise call.refuse_input(
                index, f"the shapes differ beside axis {axis}", expected=f"like {form(call.inputs[0])}"
            )
    return jnp.concatenate(arrays, axis)


@operation("slice", moves_only=True)
def slice_(call: Call[network_pb2.Slice]) -> Value:
    """Every `step`-th element of an axis from `start` to before `stop`."""
    x = call.array()
    attributes = call.attributes
    axis = _required_axis(call, x.ndim)
    step = attributes.step or 1
    if step < 1:
        raise call.refuse("step", "not a distance", given=str(step), expected="at least 1")
    size = x.shape[axis]
    start = _bound(call, "start", attributes.start, size)
    stop = _bound(call, "stop", attributes.stop, size) if attributes.HasField("stop") else size
    try:
        empty = bool(stop <= start)
    except InconclusiveDimensionOperation:
        empty = False
    if empty:
        raise call.refuse("stop", "nothing is left", given=f"{start} to {stop}", expected="at least one element")
    return jax.lax.slice_in_dim(x, start, stop, step, axis)


def _bound(call: Call[network_pb2.Slice], field: str, given: int, size: Any) -> Any:
    index = size + given if given < 0 else given
    try:
        outside = bool(index < 0 or index > size)
    except InconclusiveDimensionOperation:
        # It depends on the batch; once that is known, so is this.
        outside = False
    if outside:
        raise call.refuse(field, "outside the axis", given=str(given), expected=f"-{size} to {size}")
    return index


def _required_axis(call: Call[Any], rank: int) -> int:
    if not call.attributes.HasField("axis"):
        raise Problem(Reason.MISSING_FIELD, "the axis is not set", field=f"{call.node.field}.axis")
    return call.axis(call.attributes.axis, rank, "axis")

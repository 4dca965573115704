"""What moves elements and computes nothing."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.errors import InconclusiveDimensionOperation

from gradserve.v1 import network_pb2
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
    axis = call.required_axis(rank)
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
    axis = call.required_axis(x.ndim)
    step = attributes.step or 1
    if step < 1:
        raise call.refuse("step", "not a distance", given=str(step), expected="at least 1")
    size: Any = x.shape[axis]
    start = _bound(call, "start", attributes.start, size)
    stop = _bound(call, "stop", attributes.stop, size) if attributes.HasField("stop") else size
    try:
        empty = bool(stop <= start)
    except InconclusiveDimensionOperation:
        empty = False
    if empty:
        raise call.refuse("stop", "nothing is left", given=f"{start} to {stop}", expected="at least one element")
    if isinstance(size, int):
        return jax.lax.slice_in_dim(x, start, stop, step, axis)
    return _some(x, axis, (stop - start + step - 1) // step)


def _some(x: jax.Array, axis: int, count: Any) -> jax.Array:
    """Any elements of an axis that has only a name, as many as will be left of it: more cannot be known."""
    return jnp.take(x, jnp.arange(count), axis=axis, mode="clip")


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


@operation("pad")
def pad(call: Call[network_pb2.Pad]) -> Value:
    """Elements of one value around the input; negative numbers of them crop."""
    x = call.array()
    low, high = (_edges(call, field, x.ndim) for field in ("low", "high"))
    for axis, (before, after) in enumerate(zip(low, high, strict=True)):
        cropped = max(-before, 0) + max(-after, 0)
        if isinstance(x.shape[axis], int) and cropped >= x.shape[axis]:
            raise call.refuse(
                "low" if before < 0 else "high",
                f"nothing is left of axis {axis}",
                given=f"{cropped} cropped",
                expected=f"less than {x.shape[axis]}",
            )
    size: Any
    for axis, size in enumerate(x.shape):
        if not isinstance(size, int):
            x = _some(x, axis, size + min(low[axis], 0) + min(high[axis], 0))
            low[axis], high[axis] = max(low[axis], 0), max(high[axis], 0)
    return jax.lax.pad(
        x, _filling(call, x.dtype), [(before, after, 0) for before, after in zip(low, high, strict=True)]
    )


def _edges(call: Call[network_pb2.Pad], field: str, rank: int) -> list[int]:
    given = list(getattr(call.attributes, field)) or [0] * rank
    if len(given) != rank:
        raise call.refuse(field, "not a number for each axis", given=str(given), expected=f"{rank} numbers, or none")
    return given


def _filling(call: Call[network_pb2.Pad], dtype: Any) -> np.ndarray[Any, Any]:
    value = call.attributes.value
    fits = not math.isnan(value)
    if not jnp.issubdtype(dtype, jnp.floating):
        least, most = (0, 1) if dtype == jnp.bool_ else (np.iinfo(dtype).min, np.iinfo(dtype).max)
        fits = value.is_integer() and least <= value <= most
    if not fits:
        raise call.refuse("value", f"not a {dtype} number", given=str(value))
    return np.asarray(int(value) if np.isfinite(value) and value.is_integer() else value).astype(dtype)


# More characters than any pattern over the axes that a tensor may have needs.
_LONGEST_PATTERN = 1000


@operation("rearrange", moves_only=True)
def rearrange(call: Call[network_pb2.Rearrange]) -> Value:
    """Axes merged, split, moved, added and dropped by name, as einops has it (Rogozhnikov, 2022)."""
    x, pattern, sizes = call.array(), call.attributes.pattern, dict(call.attributes.sizes)
    if pattern.count("->") != 1 or len(pattern) > _LONGEST_PATTERN:
        raise call.refuse("pattern", "not a pattern", given=repr(pattern), expected="such as 'b (h w) c -> b h w c'")
    for name, size in sizes.items():
        # The names of einops' own arguments.
        if name in {"tensor", "pattern"}:
            raise call.refuse("sizes", "no axis may have this name", given=repr(name))
        if not 1 <= size <= call.scope.limits.elements:
            raise call.refuse(
                "sizes",
                f"'{name}' is not a size",
                given=str(size),
                expected=f"1 to {call.scope.limits.elements}",
            )
    import einops

    try:
        return einops.repeat(x, pattern, **sizes)
    except einops.EinopsError as error:
        said = str(error).strip().splitlines()[-1].strip()
        raise call.refuse("pattern", said, given=f"{pattern!r} for {form(x)}") from None

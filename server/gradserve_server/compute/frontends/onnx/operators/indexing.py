"""Elements picked, and elements put, by index."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradserve_server.compute.frontends.onnx.call import Call, integer
from gradserve_server.compute.frontends.onnx.table import Value, operator


def wrapped(call: Call, indices: Any, size: Any) -> Any:
    """Indices counted from the front; a run with one outside the axis ends with a problem."""
    xp = call.xp
    if xp is np and indices.dtype == object:
        indices = np.vectorize(integer, otypes=[np.int64])(indices)
    call.check(xp.any((indices < -size) | (indices >= size)), "an index is outside its axis")
    if not jnp.issubdtype(indices.dtype, jnp.signedinteger):
        return indices
    return xp.where(indices < 0, indices + xp.asarray(size, indices.dtype) if xp is np else indices + size, indices)


@operator("Gather", 1, 11, 13, folds=True)
def gather(call: Call) -> Value:
    x, indices = call.input(0), call.input(1)
    axis = call.axis(call.attribute("axis", 0), x.ndim)
    found = wrapped(call, indices, x.shape[axis])
    return np.take(x, found, axis) if call.xp is np else jnp.take(x, found, axis, mode="clip")


@operator("GatherElements", 11, 13)
def gather_elements(call: Call) -> Value:
    x, indices = call.input(0), call.input(1)
    axis = call.axis(call.attribute("axis", 0), x.ndim)
    found = wrapped(call, indices, x.shape[axis])
    return x[_grid(found, axis)]


def _grid(indices: jax.Array, axis: int) -> tuple[jax.Array, ...]:
    """For each axis, the index of each element of `indices`; along `axis` the elements themselves."""
    return tuple(
        indices if one == axis else jax.lax.broadcasted_iota(indices.dtype, indices.shape, one)
        for one in range(indices.ndim)
    )


@operator("GatherND", 11, 12, 13)
def gather_nd(call: Call) -> Value:
    x, indices = call.input(0), call.input(1)
    batch_dims = call.attribute("batch_dims", 0)
    index = _positions(call, x.shape, indices, batch_dims)
    return x[index]


def _positions(call: Call, shape: tuple[Any, ...], indices: jax.Array, batch_dims: int = 0) -> tuple[jax.Array, ...]:
    """The last axis of `indices` as one index array for each of the axes that it counts."""
    depth = indices.shape[-1]
    if batch_dims + depth > len(shape) or batch_dims < 0:
        raise call.refuse("the last axis of the indices is too long")
    batch = [jax.lax.broadcasted_iota(indices.dtype, indices.shape[:-1], axis) for axis in range(batch_dims)]
    return (*batch, *(wrapped(call, indices[..., one], shape[batch_dims + one]) for one in range(depth)))


@operator("ScatterElements", 11, 13, 16, 18)
@operator("Scatter", 9, 11)
def scatter_elements(call: Call) -> Value:
    x, indices, updates = call.input(0), call.input(1), call.input(2)
    axis = call.axis(call.attribute("axis", 0), x.ndim)
    found = wrapped(call, indices, x.shape[axis])
    return _put(call, x, _grid(found, axis), updates)


@operator("ScatterND", 11, 13, 16, 18)
def scatter_nd(call: Call) -> Value:
    x, indices, updates = call.input(0), call.input(1), call.input(2)
    return _put(call, x, _positions(call, x.shape, indices), updates)


def _put(call: Call, x: jax.Array, index: tuple[jax.Array, ...], updates: jax.Array) -> jax.Array:
    place = x.at[index]
    match call.attribute("reduction", "none"):
        case "none":
            return place.set(updates)
        case "add":
            return place.add(updates)
        case "mul":
            return place.multiply(updates)
        case "max":
            return place.max(updates)
        case "min":
            return place.min(updates)
        case other:
            raise call.unsupported("this reduction is not known", given=str(other))


@operator("TensorScatter", 24)
def tensor_scatter(call: Call) -> Value:
    past, update = call.input(0), call.input(1)
    axis = call.axis(call.attribute("axis", -2), past.ndim)
    size, length = past.shape[axis], update.shape[axis]
    batch = past.shape[0]
    start = call.input(2) if call.has(2) else jnp.zeros((batch,), jnp.int64)
    if axis == 0:
        raise call.refuse("the axis of the batch cannot be the one that is written along")
    number = jnp.arange(length, dtype=start.dtype)
    places = start[:, None] + number[None, :]
    if call.attribute("mode", "linear") == "circular":
        places = places % size
    else:
        call.check(jnp.any((places < 0) | (places >= size)), "it writes beyond the end")
    moved, new = jnp.moveaxis(past, axis, 1), jnp.moveaxis(update, axis, 1)
    rows = jax.lax.broadcasted_iota(places.dtype, places.shape, 0)
    return jnp.moveaxis(moved.at[rows, places].set(new), 1, axis)


@operator("Slice", 1, folds=True)
def slice_by_attributes(call: Call) -> Value:
    x = call.input(0)
    starts, ends = call.attribute("starts"), call.attribute("ends")
    axes = call.attribute("axes", tuple(range(len(starts))))
    return _slice(call, x, starts, ends, axes, (1,) * len(starts))


@operator("Slice", 10, 11, 13, static=(1, 2, 3, 4), folds=True)
def slice_(call: Call) -> Value:
    x = call.input(0)
    starts, ends = call.sizes(1), call.sizes(2)
    axes = call.sizes(3) if call.has(3) else tuple(range(len(starts)))
    steps = call.sizes(4) if call.has(4) else (1,) * len(starts)
    return _slice(call, x, starts, ends, axes, steps)


def _slice(call: Call, x: Any, starts: Any, ends: Any, axes: Any, steps: Any) -> Any:
    if not len(starts) == len(ends) == len(axes) == len(steps):
        raise call.refuse("starts, ends, axes and steps must be equally many")
    index = [slice(None)] * x.ndim
    for start, end, axis, step in zip(starts, ends, call.axes(axes, x.ndim), steps, strict=True):
        if isinstance(step, int) and step == 0:
            raise call.refuse("a step is 0")
        size = x.shape[axis]
        index[axis] = _range(start, end, step, size)
    return x[tuple(index)]


def _range(start: Any, end: Any, step: int, size: Any) -> slice:
    """A Python slice; ends far outside, which stand for "to the end", are left out where sizes are symbols."""
    far = 1 << 31
    if step < 0:
        stop = None if isinstance(end, int) and (end < -far or (isinstance(size, int) and end < -size)) else end
        return slice(None if isinstance(start, int) and start >= far else start, stop, step)
    first = 0 if isinstance(start, int) and start < -far else start
    if isinstance(size, int) and isinstance(first, int) and first < -size:
        first = 0
    same = not isinstance(end, int) and end == size
    return slice(first, None if same or (isinstance(end, int) and end >= far) else end, step)


@operator("ReverseSequence", 10, 28)
def reverse_sequence(call: Call) -> Value:
    x, lengths = call.input(0), call.input(1)
    time, batch = call.attribute("time_axis", 0), call.attribute("batch_axis", 1)
    if {time, batch} != {0, 1}:
        raise call.refuse("time_axis and batch_axis must be 0 and 1", given=f"{time} and {batch}")
    moved = jnp.moveaxis(x, time, 1)
    number = jnp.arange(moved.shape[1], dtype=lengths.dtype)[None, :]
    places = jnp.where(number < lengths[:, None], lengths[:, None] - 1 - number, number)
    rows = jax.lax.broadcasted_iota(places.dtype, places.shape, 0)
    return jnp.moveaxis(moved[rows, places], 1, time)

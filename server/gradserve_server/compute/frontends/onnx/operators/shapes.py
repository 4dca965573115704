"""Changes of shape, and what tells it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from gradserve_server.compute.frontends.onnx.call import Call
from gradserve_server.compute.frontends.onnx.table import Value, operator


def shape_array(sizes: Sequence[Any]) -> np.ndarray[Any, Any]:
    """Sizes as a vector: of integers, or of objects if some are symbols."""
    if all(isinstance(size, int) for size in sizes):
        return np.array(sizes, np.int64)
    found = np.empty(len(sizes), object)
    found[:] = sizes
    return found


@operator("Shape", 1, 13, 15, 19, 21, 23, 24, 25, forms_only=(0,), folds=True)
def shape(call: Call) -> Value:
    sizes = tuple(call.inputs[0].shape)
    return shape_array(sizes[call.attribute("start", 0) : call.attributes.get("end")])


@operator("Size", 1, 13, 19, 21, 23, 24, 25, forms_only=(0,), folds=True)
def size(call: Call) -> Value:
    return shape_array([math.prod(call.inputs[0].shape)]).reshape(())


@operator("Reshape", 5, 13, 14, 19, 21, 23, 24, 25, static=(1,), folds=True)
def reshape(call: Call) -> Value:
    x = call.input(0)
    wanted = list(call.sizes(1))
    if not call.attribute("allowzero", 0):
        for index, one in enumerate(wanted):
            if isinstance(one, int) and one == 0:
                if index >= x.ndim:
                    raise call.refuse("a size of 0 stands for an axis that is not there", given=str(tuple(wanted)))
                wanted[index] = x.shape[index]
    return reshaped(call, x, wanted)


def reshaped(call: Call, x: Any, wanted: Sequence[Any]) -> Any:
    """`x` in the shape `wanted`, where one size may be -1."""
    open_axes = [index for index, one in enumerate(wanted) if isinstance(one, int) and one == -1]
    sizes = list(wanted)
    if len(open_axes) > 1 or any(isinstance(one, int) and one < -1 for one in sizes):
        raise call.refuse("not a shape", given=str(tuple(sizes)))
    if open_axes:
        rest = math.prod(one for index, one in enumerate(sizes) if index != open_axes[0])
        total = math.prod(x.shape)
        if isinstance(rest, int) and rest == 0:
            sizes[open_axes[0]] = 0
        elif isinstance(rest, int) and isinstance(total, int) and total % rest:
            raise call.refuse(f"{list(x.shape)} cannot have the shape {list(wanted)}")
        else:
            sizes[open_axes[0]] = total // rest
    return x.reshape(tuple(sizes))


@operator("Flatten", 1, 9, 11, 13, 21, 23, 24, 25, folds=True)
def flatten(call: Call) -> Value:
    x = call.input(0)
    axis = call.attribute("axis", 1)
    if not -x.ndim <= axis <= x.ndim:
        raise call.refuse(f"there is no axis {axis}")
    axis = axis + x.ndim if axis < 0 else axis
    return x.reshape((math.prod(x.shape[:axis]), math.prod(x.shape[axis:])))


@operator("Squeeze", 1, 11, 13, 21, 23, 24, 25, static=(1,), folds=True)
def squeeze(call: Call) -> Value:
    x = call.input(0)
    axes = call.sizes_or(1, "axes")
    if axes is None:
        found = tuple(index for index, one in enumerate(x.shape) if isinstance(one, int) and one == 1)
    else:
        found = call.axes(axes, x.ndim)
    return call.xp.squeeze(x, found)


@operator("Unsqueeze", 1, 11, 13, 21, 23, 24, 25, static=(1,), folds=True)
def unsqueeze(call: Call) -> Value:
    x = call.input(0)
    axes = call.sizes_or(1, "axes")
    if axes is None:
        raise call.refuse("axes are missing")
    return call.xp.expand_dims(x, call.axes(axes, x.ndim + len(axes)))


@operator("Transpose", 1, 13, 21, 23, 24, 25, folds=True)
def transpose(call: Call) -> Value:
    x = call.input(0)
    axes = call.attributes.get("perm")
    return call.xp.transpose(x, None if axes is None else call.axes(axes, x.ndim))


@operator("Expand", 8, 13, static=(1,), folds=True)
def expand(call: Call) -> Value:
    x = call.input(0)
    wanted = call.sizes(1)
    shape = broadcast_shape(call, tuple(x.shape), wanted)
    call.check_sizes(shape)
    if call.xp is np and math.prod(shape) > 1 << 16:
        x = jnp.asarray(x)
        return jnp.broadcast_to(x, shape)
    return call.xp.broadcast_to(x, shape)


def broadcast_shape(call: Call, one: tuple[Any, ...], other: tuple[Any, ...]) -> tuple[Any, ...]:
    """The shape that both broadcast to."""
    rank = max(len(one), len(other))
    found = []
    for a, b in zip((1,) * (rank - len(one)) + one, (1,) * (rank - len(other)) + other, strict=True):
        if isinstance(a, int) and a == 1:
            found.append(b)
        elif (isinstance(b, int) and b == 1) or a == b:
            found.append(a)
        else:
            raise call.refuse(f"{list(one)} and {list(other)} do not broadcast")
    return tuple(found)


@operator("Tile", 6, 13, static=(1,), folds=True)
def tile(call: Call) -> Value:
    x = call.input(0)
    repeats = call.sizes(1)
    if len(repeats) != x.ndim or any(isinstance(one, int) and one < 0 for one in repeats):
        raise call.refuse("repeats must be one number for each axis", given=str(repeats), expected=f"{x.ndim} numbers")
    shape = tuple(size * times for size, times in zip(x.shape, repeats, strict=True))
    call.check_sizes(shape)
    if call.xp is np and (any(not isinstance(one, int) for one in repeats) or math.prod(shape) > 1 << 16):
        return jnp.tile(jnp.asarray(x), repeats)
    return call.xp.tile(x, repeats)


@operator("Concat", 4, 11, 13, folds=True)
def concatenate(call: Call) -> Value:
    values = call.all_inputs()
    return call.xp.concatenate(values, call.axis(call.attribute("axis"), values[0].ndim))


@operator("Split", 2, 11, 13, 18, static=(1,), folds=True)
def split(call: Call) -> Value:
    x = call.input(0)
    axis = call.axis(call.attribute("axis", 0), x.ndim)
    sizes = call.sizes_or(1, "split")
    total = x.shape[axis]
    if sizes is None:
        parts = call.attribute("num_outputs", len(call.node.outputs))
        if parts < 1:
            raise call.refuse("it needs at least one part", given=str(parts))
        each = -(-total // parts)
        sizes = tuple(each if index < parts - 1 else total - each * (parts - 1) for index in range(parts))
    if sum(sizes) != total or any(isinstance(one, int) and one < 0 for one in sizes):
        raise call.refuse(f"parts of {list(sizes)} do not make up an axis of {total}")
    found, start = [], 0
    for one in sizes:
        index = (slice(None),) * axis + (slice(start, start + one),)
        found.append(x[index])
        start += one
    return found


@operator("DepthToSpace", 1, 11, 13, 28)
def depth_to_space(call: Call) -> Value:
    x = call.input(0)
    block = call.attribute("blocksize")
    batch, channels, *space = x.shape
    if block < 1 or (isinstance(channels, int) and channels % block ** len(space)):
        raise call.refuse("channels must be a multiple of the block", given=f"{channels}, block {block}")
    depth = channels // block ** len(space)
    count = len(space)
    blocks = [block] * count
    if call.attribute("mode", "DCR") == "CRD":
        y = x.reshape(batch, depth, *blocks, *space)
        order = [0, 1] + [axis for index in range(count) for axis in (2 + count + index, 2 + index)]
    else:
        y = x.reshape(batch, *blocks, depth, *space)
        order = [0, 1 + count] + [axis for index in range(count) for axis in (2 + count + index, 1 + index)]
    return y.transpose(order).reshape(batch, depth, *(size * block for size in space))


@operator("SpaceToDepth", 1, 13, 28)
def space_to_depth(call: Call) -> Value:
    x = call.input(0)
    block = call.attribute("blocksize")
    batch, channels, *space = x.shape
    if block < 1 or any(isinstance(size, int) and size % block for size in space):
        raise call.refuse("space must be a multiple of the block", given=f"{space}, block {block}")
    count = len(space)
    y = x.reshape(batch, channels, *(part for size in space for part in (size // block, block)))
    inner, outer = [3 + 2 * index for index in range(count)], [2 + 2 * index for index in range(count)]
    if call.attribute("mode", "DCR") == "CRD":
        order = [0, 1, *inner, *outer]
    else:
        order = [0, *inner, 1, *outer]
    return y.transpose(order).reshape(batch, channels * block**count, *(size // block for size in space))

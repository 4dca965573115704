"""Edges added and cut off."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradserve_server.compute.frontends.onnx.call import Call
from gradserve_server.compute.frontends.onnx.table import Value, operator


@operator("Pad", 2)
def pad_by_attributes(call: Call) -> Value:
    x = call.input(0)
    return _pad(call, x, call.attribute("pads"), range(x.ndim), call.attribute("value", 0.0))


@operator("Pad", 11, 13, 18, 19, 21, 23, 24, 25, static=(1, 3), folds=True)
def pad(call: Call) -> Value:
    x = call.input(0)
    axes = call.axes(call.sizes(3), x.ndim) if call.has(3) else range(x.ndim)
    value = call.input(2).reshape(()) if call.has(2) else 0
    return _pad(call, x, call.sizes(1), axes, value)


def _pad(call: Call, x: Any, pads: Sequence[Any], axes: Sequence[int], value: Any) -> Any:
    count = len(axes)
    if len(pads) != 2 * count:
        raise call.refuse("two numbers are needed for each axis", given=str(tuple(pads)))
    low, high = [0] * x.ndim, [0] * x.ndim
    for index, axis in enumerate(axes):
        low[axis], high[axis] = pads[index], pads[count + index]
    call.check_sizes(tuple(size + a + b for size, a, b in zip(x.shape, low, high, strict=True)))
    # Negative ones cut off.
    cut = tuple(
        slice(max(0, -a), size - max(0, -b)) if all(isinstance(one, int) for one in (a, b)) else slice(None)
        for size, a, b in zip(x.shape, low, high, strict=True)
    )
    mode = call.attribute("mode", "constant")
    xp = call.xp
    x = x[cut]
    width = [(max(a, 0), max(b, 0)) for a, b in zip(low, high, strict=True)]
    if mode == "constant":
        fill = value.astype(x.dtype) if hasattr(value, "astype") else np.asarray(value).astype(x.dtype)
        return xp.pad(x, width, constant_values=fill)
    if mode not in ("reflect", "edge", "wrap"):
        raise call.unsupported("this mode is not known", given=mode)
    return xp.pad(x, width, mode)


@operator("CenterCropPad", 18, static=(1,), folds=True)
def center_crop_or_pad(call: Call) -> Value:
    x = call.input(0)
    axes = call.axes(call.attribute("axes", tuple(range(x.ndim))), x.ndim)
    wanted = call.sizes(1)
    if len(wanted) != len(axes):
        raise call.refuse("one size is needed for each axis", given=str(wanted))
    index, width = [slice(None)] * x.ndim, [(0, 0)] * x.ndim
    for axis, size in zip(axes, wanted, strict=True):
        more = size - x.shape[axis]
        if more < 0:
            start = (-more) // 2
            index[axis] = slice(start, start + size)
        else:
            width[axis] = (more // 2, more - more // 2)
    call.check_sizes(tuple(size + a + b for size, (a, b) in zip(x.shape, width, strict=True)))
    return call.xp.pad(x[tuple(index)], width)


@operator("AffineGrid", 20, static=(1,))
def affine_grid(call: Call) -> Value:
    theta = call.input(0)
    _, _, *space = call.sizes(1)
    call.check_sizes((theta.shape[0], *space, len(space)))
    corners = bool(call.attribute("align_corners", 0))
    places = [_centres(size, theta.dtype, corners=corners) for size in space]
    # The last axis of space is the first coordinate.
    grid = jnp.stack([*reversed(jnp.meshgrid(*places, indexing="ij")), jnp.ones(tuple(space), theta.dtype)], -1)
    return jnp.einsum("bij,...j->b...i", theta, grid)


def _centres(size: int, dtype: Any, *, corners: bool) -> jax.Array:
    """Places of `size` elements from -1 to 1: of the first and last, or of the ends of these."""
    if corners:
        return jnp.linspace(-1, 1, size, dtype=dtype) if size > 1 else jnp.zeros((1,), dtype)
    return ((2 * jnp.arange(size) + 1) / size - 1).astype(dtype)

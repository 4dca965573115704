"""Resize and Upsample: interpolation along one axis after the other, its places and weights known at tracing."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from gradserve_server.compute.frontends.onnx.call import Call
from gradserve_server.compute.frontends.onnx.table import Value, operator

Array = np.ndarray[Any, Any]


@dataclasses.dataclass(frozen=True)
class _Axis:
    """How one axis is resized: from `size` to `wanted` elements, by `scale`, out of the part `start` to `end`."""

    size: int
    wanted: int
    scale: float
    start: float = 0.0
    end: float = 1.0


@operator("Resize", 11, 13, 18, 19, static=(1, 2, 3))
def resize(call: Call) -> Value:
    x = call.input(0)
    axes = call.axes(call.attribute("axes", tuple(range(x.ndim))), x.ndim)
    sizes = call.sizes(3) if call.has(3) else ()
    scales = call.static(2).reshape(-1).tolist() if call.has(2) else []
    if bool(sizes) == bool(scales):
        raise call.refuse("it takes either scales or sizes")
    if len(sizes or scales) != len(axes):
        raise call.refuse("one number is needed for each axis", given=str(sizes or scales))
    before = [_known(call, x.shape[axis]) for axis in axes]
    if sizes:
        scales, wanted = _from_sizes(call, before, [_known(call, one) for one in sizes])
    else:
        wanted = [math.floor(size * scale) for size, scale in zip(before, scales, strict=True)]
    region = call.static(1).reshape(-1).tolist() if call.has(1) else []
    if len(region) != 2 * len(axes):
        region = [0.0] * len(axes) + [1.0] * len(axes)
    plans = {
        axis: _Axis(before[index], wanted[index], scales[index], region[index], region[len(axes) + index])
        for index, axis in enumerate(axes)
    }
    return _resize(call, x, plans, call.attribute("coordinate_transformation_mode", "half_pixel"))


@operator("Resize", 10, static=(1,))
@operator("Upsample", 9, 10, static=(1,))
def resize_by_scales(call: Call) -> Value:
    return _by_scales(call, call.static(1).reshape(-1).tolist())


@operator("Upsample", 7)
def resize_by_attribute(call: Call) -> Value:
    return _by_scales(call, call.attribute("scales"))


def _by_scales(call: Call, scales: Sequence[float]) -> Value:
    x = call.input(0)
    if len(scales) != x.ndim:
        raise call.refuse("one scale is needed for each axis", given=str(scales))
    before = [_known(call, size) for size in x.shape]
    plans = {
        axis: _Axis(size, math.floor(size * scale), scale)
        for axis, (size, scale) in enumerate(zip(before, scales, strict=True))
    }
    return _resize(call, x, plans, "asymmetric", nearest="floor")


def _known(call: Call, size: Any) -> int:
    if not isinstance(size, int):
        raise call.refuse("sizes must be known", given=str(size))
    return size


def _from_sizes(call: Call, before: list[int], sizes: list[int]) -> tuple[list[float], list[int]]:
    scales = [wanted / size for wanted, size in zip(sizes, before, strict=True)]
    policy = call.attribute("keep_aspect_ratio_policy", "stretch")
    if policy == "stretch":
        return scales, sizes
    if policy not in ("not_larger", "not_smaller"):
        raise call.unsupported("this policy is not known", given=policy)
    scale = min(scales) if policy == "not_larger" else max(scales)
    return [scale] * len(scales), [math.floor(scale * size + 0.5) for size in before]


def _resize(call: Call, x: Any, plans: dict[int, _Axis], transformation: str, nearest: str | None = None) -> Value:
    shape = list(x.shape)
    for axis, plan in plans.items():
        shape[axis] = plan.wanted
        if plan.wanted < 0 or plan.scale <= 0 or plan.size == 0:
            raise call.refuse("a size is not positive", given=str(plan))
    call.check_sizes(tuple(shape))
    mode = call.attribute("mode", "nearest")
    outside = jnp.zeros((), bool)
    y = x if jnp.issubdtype(x.dtype, jnp.floating) or mode == "nearest" else x.astype(jnp.float64)
    for axis, plan in plans.items():
        places = _places(call, plan, transformation)
        along = [1] * x.ndim
        along[axis] = plan.wanted
        if transformation == "tf_crop_and_resize":
            beyond = (places < 0) | (places > plan.size - 1)
            outside = outside | jnp.asarray(beyond.reshape(along))
        elif plan.wanted == plan.size and np.array_equal(places, np.arange(plan.size)):
            continue
        if mode == "nearest":
            index = _nearest(call, places, nearest or call.attribute("nearest_mode", "round_prefer_floor"))
            y = jnp.take(y, np.clip(index, 0, plan.size - 1), axis)
            continue
        index, weights = _taps(call, places, plan, mode)
        taps = [
            jnp.take(y, index[:, tap], axis) * weights[:, tap].reshape(along).astype(y.dtype)
            for tap in range(index.shape[1])
        ]
        y = sum(taps[1:], taps[0])
    if transformation == "tf_crop_and_resize":
        filler = np.asarray(call.attribute("extrapolation_value", 0.0)).astype(y.dtype)
        y = jnp.where(outside, filler, y)
    return y if y.dtype == x.dtype else jnp.round(y).astype(x.dtype)


def _places(call: Call, plan: _Axis, transformation: str) -> Array:
    """Where each element of the result lies among those of the input."""
    number = np.arange(plan.wanted, dtype=np.float64)
    length = plan.scale * plan.size
    match transformation:
        case "half_pixel":
            return (number + 0.5) / plan.scale - 0.5
        case "pytorch_half_pixel":
            return (number + 0.5) / plan.scale - 0.5 if length > 1 else np.full(plan.wanted, -0.5)
        case "half_pixel_symmetric":
            offset = plan.size / 2 * (1 - plan.wanted / length)
            return offset + (number + 0.5) / plan.scale - 0.5
        case "align_corners":
            return number * (plan.size - 1) / (length - 1) if length != 1 else np.zeros(plan.wanted)
        case "asymmetric":
            return number / plan.scale
        case "tf_crop_and_resize":
            part = (plan.end - plan.start) * (plan.size - 1)
            inner = number * part / (length - 1) if length != 1 else np.full(plan.wanted, part / 2)
            return plan.start * (plan.size - 1) + inner
        case _:
            raise call.unsupported("this transformation of coordinates is not known", given=transformation)


def _nearest(call: Call, places: Array, mode: str) -> Array:
    match mode:
        case "round_prefer_floor":
            found = np.ceil(places - 0.5)
        case "round_prefer_ceil":
            found = np.floor(places + 0.5)
        case "floor":
            found = np.floor(places)
        case "ceil":
            found = np.ceil(places)
        case _:
            raise call.unsupported("this way of rounding is not known", given=mode)
    return found.astype(np.int64)


def _taps(call: Call, places: Array, plan: _Axis, mode: str) -> tuple[Array, Array]:
    """For each element of the result, which elements of the input it is made of, and their weights."""
    stretch = min(plan.scale, 1.0) if call.attribute("antialias", 0) else 1.0
    reach = 1 if mode == "linear" else 2
    first = math.floor(-reach / stretch) + 1
    # The element at or before each place counts as the one before it.
    base = np.ceil(places).astype(np.int64) - 1
    ratio = places - base
    offsets = np.arange(first, 2 - first)[: 2 - 2 * first]
    distance = np.abs(stretch * (offsets[None, :] - ratio[:, None]))
    if mode == "linear":
        weights = np.clip(1 - distance, 0, 1)
    elif mode == "cubic":
        weights = _cubic(distance, call.attribute("cubic_coeff_a", -0.75))
    else:
        raise call.unsupported("this mode is not known", given=mode)
    index = base[:, None] + offsets[None, :]
    if call.attribute("exclude_outside", 0):
        weights = np.where((index < 0) | (index >= plan.size), 0, weights)
    if stretch != 1 or call.attribute("exclude_outside", 0):
        weights = weights / weights.sum(1, keepdims=True)
    return np.clip(index, 0, plan.size - 1), weights


def _cubic(distance: Array, a: float) -> Array:
    """Keys' cubic convolution kernel at a distance."""
    near = ((a + 2) * distance - (a + 3)) * distance**2 + 1
    far = ((a * distance - 5 * a) * distance + 8 * a) * distance - 4 * a
    return np.where(distance <= 1, near, np.where(distance < 2, far, 0))

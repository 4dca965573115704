"""Values at places that the data names: GridSample and pooling over regions."""

from __future__ import annotations

import itertools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradserve_server.compute.frontends.onnx.call import Call
from gradserve_server.compute.frontends.onnx.table import Value, operator

_CUBIC = -0.75


@operator("GridSample", 16, 20, 22)
def grid_sample(call: Call) -> Value:
    x, grid = call.input(0), call.input(1)
    space = x.shape[2:]
    mode = call.attribute("mode", "linear").removeprefix("bi")
    padding = call.attribute("padding_mode", "zeros")
    corners = bool(call.attribute("align_corners", 0))
    if mode not in ("linear", "nearest", "cubic") or padding not in ("zeros", "border", "reflection"):
        raise call.unsupported("this mode is not known", given=f"{mode}, {padding}")
    taps = []
    for axis, size in enumerate(space):
        # The last coordinate is that of the first axis of space.
        place = grid[..., len(space) - 1 - axis]
        place = (place + 1) / 2 * (size - 1) if corners else ((place + 1) * size - 1) / 2
        place = jnp.round(place) if mode == "nearest" else place
        place = _inside(place, size, padding, corners=corners)
        taps.append([(_whole(index, size, padding, corners=corners), weight) for index, weight in _taps(place, mode)])
    total: Any = 0
    for chosen in itertools.product(*taps):
        weight: Any = math.prod(own * there.astype(own.dtype) for (_, there), own in chosen)
        values = jax.vmap(lambda image, *at: image[(slice(None), *at)])(x, *(index for (index, _), _ in chosen))
        total = total + jnp.expand_dims(weight, 1) * values.astype(weight.dtype)
    return total.astype(x.dtype)


def _taps(place: jax.Array, mode: str) -> list[tuple[jax.Array, jax.Array]]:
    """Which elements along an axis a value is made of, and their weights."""
    if mode == "nearest":
        return [(place, jnp.ones_like(place))]
    base = jnp.floor(place)
    ratio = place - base
    if mode == "linear":
        return [(base, 1 - ratio), (base + 1, ratio)]
    return [(base + offset, _cubic(jnp.abs(ratio - offset))) for offset in (-1, 0, 1, 2)]


def _cubic(distance: jax.Array) -> jax.Array:
    """Keys' cubic convolution kernel at a distance of at most 2."""
    near = ((_CUBIC + 2) * distance - (_CUBIC + 3)) * distance**2 + 1
    far = ((_CUBIC * distance - 5 * _CUBIC) * distance + 8 * _CUBIC) * distance - 4 * _CUBIC
    return jnp.where(distance <= 1, near, far)


def _inside(place: jax.Array, size: int, padding: str, *, corners: bool) -> jax.Array:
    if padding == "border":
        return jnp.clip(place, 0, size - 1)
    return _reflected(place, size, corners=corners) if padding == "reflection" else place


def _reflected(place: jax.Array, size: int, *, corners: bool) -> jax.Array:
    """`place` reflected at both ends until it lies between them."""
    low, high = (0.0, size - 1.0) if corners else (-0.5, size - 0.5)
    span = high - low
    if span == 0:
        return jnp.zeros_like(place)
    beyond = jnp.abs(place - low)
    turns = jnp.floor(beyond / span)
    rest = beyond - turns * span
    found = jnp.where(turns % 2 == 0, low + rest, high - rest)
    return jnp.where((place >= low) & (place <= high), place, found)


def _whole(place: jax.Array, size: int, padding: str, *, corners: bool) -> tuple[jax.Array, jax.Array]:
    """An index, and whether there is an element at it."""
    if padding == "reflection":
        place = jnp.trunc(_reflected(place, size, corners=corners))
    there = (place >= 0) & (place <= size - 1) if padding == "zeros" else jnp.ones(place.shape, bool)
    return jnp.clip(place, 0, size - 1).astype(jnp.int32), there


@operator("RoiAlign", 10, 16, 22)
def align_regions(call: Call) -> Value:
    x, regions, images = call.input(0), call.input(1), call.input(2)
    counts = (call.attribute("output_height", 1), call.attribute("output_width", 1))
    shifts = call.version >= 16 and call.attribute("coordinate_transformation_mode", "half_pixel") == "half_pixel"
    ratio = call.attribute("sampling_ratio", 0)
    scale = call.attribute("spatial_scale", 1.0)
    if ratio > 0:

        def align(region: jax.Array, image: jax.Array) -> jax.Array:
            return _align(call, x[image], region * scale, counts, (ratio, ratio), shifts=shifts)

        return jax.vmap(align)(regions, images)
    # As many samples as a region is large: they must be known.
    known = call.static(1)
    found = []
    for index in range(known.shape[0]):
        start_x, start_y, end_x, end_y = (float(one) * scale for one in known[index])
        least = 0.0 if shifts else 1.0
        extent = (max(end_y - start_y, least), max(end_x - start_x, least))
        samples = tuple(max(1, math.ceil(one / count)) for one, count in zip(extent, counts, strict=True))
        call.check_sizes((x.shape[1], *counts, *samples))
        found.append(_align(call, x[images[index]], regions[index] * scale, counts, samples, shifts=shifts))
    return jnp.stack(found) if found else jnp.zeros((0, x.shape[1], *counts), x.dtype)


def _align(
    call: Call, image: jax.Array, region: jax.Array, counts: tuple[int, int], samples: tuple[int, ...], *, shifts: bool
) -> jax.Array:
    """One region of image [channels, height, width]: [channels, *counts]."""
    offset = 0.5 if shifts else 0.0
    taps = []
    for axis in range(2):
        size = image.shape[1 + axis]
        start, end = region[1 - axis] - offset, region[3 - axis] - offset
        extent = end - start if shifts else jnp.maximum(end - start, 1)
        bins = np.arange(counts[axis])[:, None] + (np.arange(samples[axis]) + 0.5) / samples[axis]
        place = start + bins.astype(image.dtype) * (extent / counts[axis])
        there = (place >= -1) & (place <= size)
        place = jnp.clip(place, 0, size - 1)
        low = jnp.minimum(jnp.floor(place), size - 1)
        high = jnp.minimum(low + 1, size - 1)
        known = there.astype(place.dtype)
        taps.append([(low, (1 - (place - low)) * known), (high, (place - low) * known)])
    parts = []
    for (row, row_weight), (column, column_weight) in itertools.product(*taps):
        values = image[:, row.astype(jnp.int32)[:, :, None, None], column.astype(jnp.int32)[None, None]]
        parts.append(values * row_weight[:, :, None, None] * column_weight)
    if call.attribute("mode", "avg") == "max":
        # The largest of the weighted corners, as the standard's own implementation has it.
        return jnp.max(jnp.stack(parts), (0, 3, 5))
    return jnp.mean(sum(parts[1:], parts[0]), (2, 4))


@operator("MaxRoiPool", 1, 22)
def pool_regions(call: Call) -> Value:
    x, regions = call.input(0), call.input(1)
    counts = tuple(call.attribute("pooled_shape"))
    scale = call.attribute("spatial_scale", 1.0)
    call.check_sizes((regions.shape[0], x.shape[1], *counts, *x.shape[2:]))

    def pool(region: jax.Array) -> jax.Array:
        masks = []
        for axis in range(2):
            size = x.shape[2 + axis]
            start, end = jnp.round(region[2 - axis] * scale), jnp.round(region[4 - axis] * scale)
            extent = jnp.maximum(end - start + 1, 1) / counts[axis]
            number = jnp.arange(counts[axis], dtype=extent.dtype)
            first = jnp.clip(jnp.floor(number * extent) + start, 0, size)
            last = jnp.clip(jnp.ceil((number + 1) * extent) + start, 0, size)
            at = jnp.arange(size, dtype=first.dtype)
            masks.append((at >= first[:, None]) & (at < last[:, None]))
        inside = masks[0][:, None, :, None] & masks[1][None, :, None, :]
        image = x[region[0].astype(jnp.int32)]
        lowest = jnp.asarray(-jnp.inf, x.dtype)
        best = jnp.max(jnp.where(inside, image[:, None, None], lowest), (-2, -1))
        return jnp.where(jnp.any(inside, (-2, -1)), best, jnp.zeros_like(best))

    return jax.vmap(pool)(regions)

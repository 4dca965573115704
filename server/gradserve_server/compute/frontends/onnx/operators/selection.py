"""Elements chosen by their values: sorted, unique, not zero, not suppressed."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradserve_server.compute.frontends.onnx.call import Call
from gradserve_server.compute.frontends.onnx.table import Value, operator

Array = np.ndarray[Any, Any]


@operator("TopK", 1)
def top_k_by_attribute(call: Call) -> Value:
    return _top_k(call, call.attribute("k"))


@operator("TopK", 10, 11, 24, static=(1,))
def top_k(call: Call) -> Value:
    return _top_k(call, call.number(1, None))


def _top_k(call: Call, k: Any) -> Value:
    x = call.input(0)
    axis = call.axis(call.attribute("axis", -1), x.ndim)
    if isinstance(k, int) and isinstance(x.shape[axis], int) and not 0 <= k <= x.shape[axis]:
        raise call.refuse("k is larger than the axis", given=f"k {k}, axis of {x.shape[axis]}")
    moved = jnp.moveaxis(x, axis, -1)
    # A stable sort: of equal elements the first comes first.
    order = jnp.argsort(moved, -1, descending=bool(call.attribute("largest", 1)), stable=True)
    chosen = jax.lax.slice_in_dim(order, 0, k, axis=order.ndim - 1)
    values = jnp.take_along_axis(moved, chosen, -1)
    return [jnp.moveaxis(values, -1, axis), jnp.moveaxis(chosen.astype(jnp.int64), -1, axis)]


@operator("NonZero", 9, 13, static=(0,), folds=True)
def non_zero(call: Call) -> Value:
    x = call.static(0)
    return np.stack(np.nonzero(np.atleast_1d(x))).astype(np.int64)


@operator("Compress", 9, 11, 28, static=(1,), folds=True)
def compress(call: Call) -> Value:
    x = call.input(0)
    places = np.nonzero(call.static(1).reshape(-1))[0]
    axis = call.attributes.get("axis")
    if axis is None:
        return call.xp.take(x.reshape(-1), places)
    return call.xp.take(x, places, call.axis(axis, x.ndim))


@operator("Unique", 11, 28, static=(0,), folds=True)
def unique(call: Call) -> Value:
    x = call.static(0)
    axis = call.attributes.get("axis")
    axis = None if axis is None else call.axis(axis, x.ndim)
    values, first, inverse, counts = np.unique(x, True, True, True, axis=axis)
    inverse = inverse.reshape(-1)
    if not call.attribute("sorted", 1):
        order = np.argsort(first)
        back = np.argsort(order)
        values = np.take(values, order, 0 if axis is None else axis)
        first, counts, inverse = first[order], counts[order], back[inverse]
    return [values, *(one.astype(np.int64) for one in (first, inverse, counts))]


@operator("NonMaxSuppression", 10, 11, static=(0, 1, 2, 3, 4), folds=True)
def non_max_suppression(call: Call) -> Value:
    boxes, scores = call.static(0).astype(np.float64), call.static(1)
    most = int(call.number(2, 0))
    overlap = float(call.number(3, 0.0))
    threshold = float(call.number(4, -np.inf))
    found = [
        (batch, kind, box)
        for batch in range(scores.shape[0])
        for kind in range(scores.shape[1])
        for box in _kept(_corners(call, boxes[batch]), scores[batch, kind], most, overlap, threshold)
    ]
    return np.asarray(found, np.int64).reshape(-1, 3)


def _corners(call: Call, boxes: Array) -> Array:
    """Lower and upper corner of each box [boxes, 2, 2]."""
    if call.attribute("center_point_box", 0):
        centre, extent = boxes[:, :2], boxes[:, 2:]
        return np.stack([centre - extent / 2, centre + extent / 2], 1)
    both = boxes.reshape(-1, 2, 2)
    return np.stack([both.min(1), both.max(1)], 1)


def _kept(corners: Array, scores: Array, most: int, overlap: float, threshold: float) -> list[int]:
    """The boxes that are left, best first: each suppresses those that overlap it too much."""
    waiting = [int(index) for index in np.argsort(-scores, kind="stable") if scores[index] > threshold]
    kept: list[int] = []
    while waiting and len(kept) < most:
        best = waiting.pop(0)
        kept.append(best)
        waiting = [one for one in waiting if _overlap(corners[best], corners[one]) <= overlap]
    return kept


def _overlap(one: Array, other: Array) -> float:
    """Intersection over union of two boxes."""
    sides = np.minimum(one[1], other[1]) - np.maximum(one[0], other[0])
    if (sides <= 0).any():
        return 0.0
    common = float(sides.prod())
    union = float((one[1] - one[0]).prod() + (other[1] - other[0]).prod()) - common
    return common / union if union > 0 else 0.0


@operator("TfIdfVectorizer", 9)
def count_n_grams(call: Call) -> Value:
    x = call.input(0)
    pool = call.attributes.get("pool_int64s")
    if pool is None:
        raise call.unsupported("strings are not served")
    rows = x if x.ndim == 2 else x[None]
    starts, places = list(call.attribute("ngram_counts")), call.attribute("ngram_indexes")
    weights = call.attribute("weights", (1.0,) * len(places))
    mode = call.attribute("mode")
    least, most = call.attribute("min_gram_length"), call.attribute("max_gram_length")
    columns = max(places) + 1 if places else 0
    counts = jnp.zeros((rows.shape[0], columns), jnp.float32)
    gram = 0
    for length, (start, end) in enumerate(zip(starts, [*starts[1:], len(pool)], strict=True), 1):
        for first in range(start, end - length + 1, length):
            if least <= length <= most:
                found = _occurrences(call, rows, pool[first : first + length])
                counts = counts.at[:, places[gram]].add(_weighted(call, found, mode, weights[gram]))
            gram += 1
    return counts if x.ndim == 2 else counts[0]


def _occurrences(call: Call, rows: jax.Array, wanted: tuple[int, ...]) -> jax.Array:
    """How often the numbers `wanted` come in each row, one after the other with up to the allowed skips between."""
    size, length = rows.shape[1], len(wanted)
    total = jnp.zeros((rows.shape[0],), jnp.float32)
    for step in range(1, call.attribute("max_skip_count") + 2 if length > 1 else 2):
        windows = size - step * (length - 1)
        if windows < 1:
            break
        same = jnp.ones((rows.shape[0], windows), bool)
        for index, number in enumerate(wanted):
            same = same & (rows[:, index * step : index * step + windows] == number)
        total = total + jnp.sum(same, 1, dtype=jnp.float32)
    return total


def _weighted(call: Call, count: jax.Array, mode: str, weight: float) -> jax.Array:
    match mode:
        case "TF":
            return count
        case "IDF":
            return jnp.where(count > 0, weight, 0).astype(count.dtype)
        case "TFIDF":
            return count * weight
        case _:
            raise call.unsupported("this mode is not known", given=mode)

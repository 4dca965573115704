"""Statistics of tensors, computed where the tensors are."""

from __future__ import annotations

import collections
import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp

from gradserve_server.common.tracing import STATISTICS

# Told of all elements; the others of those that are finite.
_OF_ALL = frozenset({"zero_fraction", "non_finite"})

# Elements of a tensor; larger ones are not copied for their statistics.
_MOST_COPIED = 1 << 18


def rows_of(values: jax.Array, turns: int) -> jax.Array:
    """As a matrix: a row for each combination of indices of the first `turns` axes, the elements of a tensor in it."""
    return values.reshape(math.prod(values.shape[:turns]), math.prod(values.shape[turns:]))


def all_statistics(matrices: Sequence[jax.Array]) -> list[jax.Array]:
    """What `statistics` gives for each.

    Small ones of like form are computed together: the time to compile a program grows with the number of reductions.
    """
    groups: dict[tuple[int, str], list[int]] = collections.defaultdict(list)
    for place, matrix in enumerate(matrices):
        groups[matrix.shape[1], str(matrix.dtype)].append(place)
    tables: dict[int, jax.Array] = {}
    for (size, _), places in groups.items():
        together = [place for place in places if matrices[place].shape[0] * size <= _MOST_COPIED]
        for place in set(places) - set(together):
            tables[place] = statistics(matrices[place])
        if together:
            first = 0
            # The barrier keeps the compiler from drawing all that comes before into each reduction.
            joined = jax.lax.optimization_barrier(jnp.concatenate([matrices[place] for place in together]))
            table = jax.lax.optimization_barrier(statistics(joined))
            for place in together:
                rows = matrices[place].shape[0]
                tables[place] = table[first : first + rows]
                first += rows
    return [tables[place] for place in range(len(matrices))]


def statistics(flat: jax.Array) -> jax.Array:
    """Rows of `STATISTICS` in float64, [rows, 8], of each row of a matrix.

    All but the last two columns are of the finite elements. Squares of float32 fit float64, whose exponents are wider;
    those of float64 are kept from under- and overflow by the largest element. Deviations are from the first element, so
    that no large mean swallows them.

    Args:
        flat: [rows, elements].
    """
    rows, size = flat.shape
    if not size:
        return jnp.broadcast_to(jnp.asarray([0.0 if name in _OF_ALL else jnp.nan for name in STATISTICS]), (rows, 8))
    is_floating = bool(jnp.issubdtype(flat.dtype, jnp.floating))
    finite = jnp.isfinite(flat) if is_floating else jnp.ones(flat.shape, jnp.bool_)
    exact = jnp.where(finite, flat, 0).astype(jnp.float64)
    count = jnp.sum(finite, axis=1, dtype=jnp.float64)
    scale = _scale(exact, finite) if flat.dtype == jnp.float64 else jnp.ones((rows, 1), jnp.float64)
    scaled = exact / scale
    pivot = scaled[:, :1]
    moved = jnp.where(finite, scaled - pivot, 0)
    total, squares = jnp.sum(moved, axis=1), jnp.sum(jnp.square(moved), axis=1)
    scale, pivot = scale[:, 0], pivot[:, 0]
    mean = pivot + total / count
    variance = jnp.maximum(squares / count - jnp.square(total / count), 0)
    square_sum = jnp.sum(jnp.square(scaled), axis=1)
    columns = {
        "mean": mean * scale,
        "standard_deviation": jnp.sqrt(variance) * scale,
        "minimum": jnp.min(exact, axis=1, initial=jnp.inf, where=finite),
        "maximum": jnp.max(exact, axis=1, initial=-jnp.inf, where=finite),
        "norm": jnp.sqrt(square_sum) * scale,
        "root_mean_square": jnp.sqrt(square_sum / count) * scale,
        "zero_fraction": jnp.mean(flat == 0, axis=1, dtype=jnp.float64),
        "non_finite": size - count,
    }
    table = jnp.stack([columns[name] for name in STATISTICS], axis=1)
    kept = jnp.asarray([name in _OF_ALL for name in STATISTICS])
    return jnp.where((count[:, None] > 0) | kept, table, jnp.nan)


def _scale(values: jax.Array, finite: jax.Array) -> jax.Array:
    """The largest element of each row; 1 where that is 0."""
    largest = jnp.max(jnp.abs(values), axis=1, initial=0.0, where=finite, keepdims=True)
    return jnp.where(largest > 0, largest, 1.0)


def combine(rows: jax.Array, size: int) -> jax.Array:
    """Statistics of one tensor from those of its parts, each of `size` elements: [n, 8] to [1, 8]."""
    column = {name: rows[:, index] for index, name in enumerate(STATISTICS)}
    counts = size - column["non_finite"]
    some = counts > 0
    count = jnp.sum(counts)
    mean = jnp.sum(jnp.where(some, counts * column["mean"], 0)) / count
    spread = jnp.square(column["standard_deviation"]) + jnp.square(column["mean"] - mean)
    largest = jnp.max(column["norm"], initial=0.0, where=some)
    scale = jnp.where(largest > 0, largest, 1.0)
    norm = scale * jnp.sqrt(jnp.sum(jnp.where(some, jnp.square(column["norm"] / scale), 0)))
    columns = {
        "mean": mean,
        "standard_deviation": jnp.sqrt(jnp.sum(jnp.where(some, counts * spread, 0)) / count),
        "minimum": jnp.min(column["minimum"], initial=jnp.inf, where=some),
        "maximum": jnp.max(column["maximum"], initial=-jnp.inf, where=some),
        "norm": norm,
        "root_mean_square": norm / jnp.sqrt(count),
        "zero_fraction": jnp.mean(column["zero_fraction"]),
        "non_finite": jnp.sum(column["non_finite"]),
    }
    table = jnp.stack([columns[name] for name in STATISTICS])[None]
    kept = jnp.asarray([name in _OF_ALL for name in STATISTICS])
    return jnp.where((count > 0) | kept, table, jnp.nan)

"""Statistics of tensors, computed where the tensors are."""

from __future__ import annotations

import collections
import dataclasses
import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from gradserve_server.common.tracing import STATISTICS

# Told of all elements; the others of those that are finite.
_OF_ALL = frozenset({"zero_fraction", "non_finite"})

# Elements of a tensor; larger ones are not copied for their statistics.
_MOST_COPIED = 1 << 18

# Elements that are added up in their own precision.
_PIECE = 1024


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

    All but the last two columns are of the finite elements. Sums of at most `_PIECE` numbers of up to 32 bits are taken
    in float32, all others in float64. Squares are of deviations from an element of the same piece, by the largest of
    the row: they neither under- nor overflow, and no large mean swallows them.

    Args:
        flat: [rows, elements].
    """
    rows, size = flat.shape
    if not size:
        return jnp.broadcast_to(jnp.asarray([0.0 if name in _OF_ALL else jnp.nan for name in STATISTICS]), (rows, 8))
    narrow = jnp.issubdtype(flat.dtype, jnp.floating) and flat.dtype.itemsize <= 4
    pieces = _pieces(flat.astype(jnp.float32 if narrow else jnp.float64))
    of_all = _of_finite(pieces, pieces[..., :1], jnp.full(pieces.shape[:2], float(pieces.shape[2])))
    # Most tensors are finite, which is cheaper to find out afterwards than to heed at each element.
    all_finite = jnp.all(jnp.isfinite(of_all.means))
    parts: _Parts = jax.lax.cond(all_finite, lambda: of_all, lambda: _of_those_finite(pieces))
    return _table(parts, size)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class _Parts:
    """Sums over the pieces of rows, in float64.

    Attributes:
        counts: numbers of elements, [rows, pieces]; those below are of these elements alone.
        means: means by `scale`, [rows, pieces].
        squares: sums of the squares of deviations from these means, by the square of `scale`, [rows, pieces].
        minimum: smallest elements, [rows].
        maximum: largest elements, [rows].
        scale: sizes of the largest elements, or a little more where they are near 0, [rows].
        zeros: numbers of zeros, [rows].
    """

    counts: jax.Array
    means: jax.Array
    squares: jax.Array
    minimum: jax.Array
    maximum: jax.Array
    scale: jax.Array
    zeros: jax.Array


def _pieces(matrix: jax.Array) -> jax.Array:
    """Rows cut into pieces of the same length, [rows, pieces, elements]."""
    rows, size = matrix.shape
    length = next(length for length in range(min(size, _PIECE), 0, -1) if size % length == 0)
    return matrix.reshape(rows, size // length, length)


def _of_those_finite(pieces: jax.Array) -> _Parts:
    """Sums over the finite elements: the others are replaced by a finite one of their row, and not counted."""
    finite = jnp.isfinite(pieces)
    lowest = jnp.min(pieces, axis=(1, 2), initial=jnp.inf, where=finite, keepdims=True)
    replacement = jnp.where(jnp.isfinite(lowest), lowest, 0)
    counts = jnp.sum(finite, axis=2, dtype=jnp.float64)
    return _of_finite(jnp.where(finite, pieces, replacement), replacement, counts)


def _of_finite(pieces: jax.Array, pivots: jax.Array, counts: jax.Array) -> _Parts:
    """Sums over finite elements.

    Args:
        pieces: [rows, pieces, elements].
        pivots: elements that deviations are taken from; they broadcast.
        counts: how many elements are meant; the others are equal to their pivot.
    """
    minimum, maximum = jnp.min(pieces, axis=(1, 2)), jnp.max(pieces, axis=(1, 2))
    scale = jnp.maximum(jnp.maximum(maximum, -minimum), np.finfo(pieces.dtype).tiny)
    # In two steps: neither a difference nor the reciprocal may leave the range of normal numbers.
    first = jnp.where(scale > 1, 0.125, 1).astype(scale.dtype)
    second = 1 / (first * scale)
    first, second = first[:, None, None], second[:, None, None]
    deviations = (pieces * first - pivots * first) * second
    total = jnp.sum(deviations, axis=2).astype(jnp.float64)
    squares = jnp.sum(jnp.square(deviations), axis=2).astype(jnp.float64)
    zeros = jnp.sum(pieces == 0, axis=2, dtype=pieces.dtype).astype(jnp.float64)
    uncounted = jnp.where(pivots[..., 0] == 0, pieces.shape[2] - counts, 0)
    some = jnp.maximum(counts, 1)
    wide = scale.astype(jnp.float64)
    return _Parts(
        counts,
        pivots[..., 0].astype(jnp.float64) / wide[:, None] + total / some,
        jnp.maximum(squares - jnp.square(total) / some, 0),
        minimum.astype(jnp.float64),
        maximum.astype(jnp.float64),
        wide,
        jnp.sum(zeros - uncounted, axis=1),
    )


def _table(parts: _Parts, size: int) -> jax.Array:
    """Statistics of rows of so many elements."""
    count = jnp.sum(parts.counts, axis=1)
    mean = jnp.sum(parts.counts * parts.means, axis=1) / count
    spread = parts.squares + parts.counts * jnp.square(parts.means - mean[:, None])
    variance = jnp.sum(spread, axis=1) / count
    root_mean_square = jnp.sqrt(variance + jnp.square(mean)) * parts.scale
    return _known(
        {
            "mean": mean * parts.scale,
            "standard_deviation": jnp.sqrt(variance) * parts.scale,
            "minimum": parts.minimum,
            "maximum": parts.maximum,
            "norm": root_mean_square * jnp.sqrt(count),
            "root_mean_square": root_mean_square,
            "zero_fraction": parts.zeros / size,
            "non_finite": size - count,
        },
        count,
    )


def _known(columns: dict[str, jax.Array], count: jax.Array) -> jax.Array:
    """The columns side by side; where there is no finite element, most say nothing."""
    table = jnp.stack([columns[name] for name in STATISTICS], axis=1)
    kept = jnp.asarray([name in _OF_ALL for name in STATISTICS])
    return jnp.where((count > 0)[:, None] | kept[None], table, jnp.nan)


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
    return _known({name: value[None] for name, value in columns.items()}, count[None])

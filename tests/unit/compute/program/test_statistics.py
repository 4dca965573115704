"""Statistics of tensors against NumPy's in float64."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gradserve_server.common.tracing import STATISTICS
from gradserve_server.compute.program.statistics import all_statistics, combine

NORMAL = np.random.default_rng(0).normal(size=(2, 1500))
ROWS = {
    "one number": [[-2.5]],
    "one number whose square is 0 in float32": [[3e-30]],
    "squares that are 0 in float32": NORMAL * 1e-30,
    "squares that are infinite in float32": NORMAL * 1e30,
    "the largest numbers": [[3e38, -3e38, 3e38, 0.0]],
    "a large mean": 1e4 + NORMAL,
    "all the same": [[0.1] * 40],
    "zeros, also at the end": [[0.0, 1.0, 0.0, 0.0], [0.0] * 4],
    "more than a piece": NORMAL[:, :33],
    "not finite": [[np.inf, 1e-30, np.nan, 3e-30, -np.inf], [1.0, 2.0, 0.0, 4.0, 0.0]],
    "nothing finite": [[np.nan, np.inf]],
    "not finite at the end, many": np.where(np.arange(1500) % 7 == 2, np.nan, NORMAL),
}
NAMES = tuple(ROWS)
# Each is run once: most of the time is the compiler's.
computed = jax.jit(all_statistics, compiler_options={"xla_backend_optimization_level": 0})


def expected(row: Any) -> dict[str, float]:
    """By NumPy, in numbers that are wide enough for the squares of float64."""
    values = np.asarray(row, np.longdouble)
    finite = values[np.isfinite(values)]
    found = {"zero_fraction": float(np.mean(values == 0)), "non_finite": float(len(values) - len(finite))}
    if not len(finite):
        return dict.fromkeys(STATISTICS, np.nan) | found
    squares = np.sum(finite**2)
    return found | {
        "mean": float(np.mean(finite)),
        "standard_deviation": float(np.std(finite)),
        "minimum": float(np.min(finite)),
        "maximum": float(np.max(finite)),
        "norm": float(np.sqrt(squares)),
        "root_mean_square": float(np.sqrt(squares / len(finite))),
    }


@functools.cache
def tables(dtype: Any) -> list[np.ndarray[Any, Any]]:
    """Of all rows, in one program as in a trace."""
    matrices = [jnp.asarray(ROWS[name], dtype) for name in NAMES]
    return [np.asarray(one) for one in computed(matrices)]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", NAMES)
def test_statistics_are_those_of_numpy(name: str, dtype: Any) -> None:
    table = tables(dtype)[NAMES.index(name)]
    tolerance = 2e-6 if dtype is np.float32 else 1e-13
    for row, values in zip(table, np.asarray(ROWS[name], dtype), strict=True):
        wanted = expected(values)
        size = wanted["root_mean_square"]
        for column, found in zip(STATISTICS, row, strict=True):
            # A mean or deviation is as exact as the size of the elements lets it be.
            least = tolerance * (1.0 if np.isnan(size) else float(size))
            absolute = least if column in {"mean", "standard_deviation"} else 0.0
            np.testing.assert_allclose(found, wanted[column], rtol=tolerance, atol=absolute, err_msg=column)


def test_squares_of_float64_neither_underflow_nor_overflow() -> None:
    matrices = [jnp.asarray(NORMAL * factor) for factor in (1e-200, 1e200)]
    for matrix, table in zip(matrices, computed(matrices), strict=True):
        for values, row in zip(np.asarray(matrix), np.asarray(table), strict=True):
            found = dict(zip(STATISTICS, row, strict=True))
            wanted = expected(values)
            for name in ("norm", "root_mean_square", "standard_deviation"):
                np.testing.assert_allclose(found[name], wanted[name], rtol=1e-12)


def test_small_deviations_from_a_large_mean_are_seen() -> None:
    values = np.float32(1000) + np.arange(64, dtype=np.float32) * np.float32(2**-10)
    table = computed([jnp.asarray(values[None])])[0]
    deviation = float(table[0, STATISTICS.index("standard_deviation")])
    assert deviation == pytest.approx(float(np.std(values.astype(np.float64))), rel=1e-6)


@pytest.mark.parametrize(("dtype", "exact"), [(np.int32, 3.0), (np.bool_, 1.0), (jnp.bfloat16, 3.0)])
def test_other_types_are_widened(dtype: Any, exact: float) -> None:
    table = computed([jnp.asarray([[0, 3]], dtype), jnp.zeros((2, 0), dtype)])
    assert dict(zip(STATISTICS, table[0][0].tolist(), strict=True))["maximum"] == exact
    assert table[1].shape == (2, len(STATISTICS))


def test_statistics_of_parts_combine_to_those_of_the_whole() -> None:
    values = np.where(np.arange(3000).reshape(3, 1000) % 11 == 0, np.nan, 5 + np.arange(3000).reshape(3, 1000) * 1e-3)
    parts, whole = computed([jnp.asarray(values), jnp.asarray(values.reshape(1, -1))])
    np.testing.assert_allclose(combine(parts, 1000), whole, rtol=1e-12)

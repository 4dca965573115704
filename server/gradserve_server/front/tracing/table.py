"""The numbers of one run of a traced program, by value."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, final

import numpy as np

from gradserve_server.common.tracing import STATISTICS, Instance, Layout

_COLUMN = {name: index for index, name in enumerate(STATISTICS)}
_RMS, _NORM = _COLUMN["root_mean_square"], _COLUMN["norm"]


@dataclasses.dataclass(frozen=True)
class Size:
    """How large a tensor is in two ways: as its elements go, and as a whole."""

    root_mean_square: float
    norm: float

    def decades_above(self, other: Size) -> float:
        """Powers of ten between the two, by the measure in which they are closer; 0 where the measures disagree.

        Elements become smaller where their number grows, and the norm larger: neither is a gradient that fades.

        Returns:
            minus infinity where only this one is 0, infinity where only `other` is.
        """
        by_element = _decades(self.root_mean_square, other.root_mean_square)
        by_norm = _decades(self.norm, other.norm)
        if by_element * by_norm <= 0:
            return 0.0
        return min(by_element, by_norm, key=abs)


def _decades(one: float, other: float) -> float:
    if one == other:
        return 0.0
    if not one or not other:
        return math.inf if one else -math.inf
    return math.log10(one) - math.log10(other)


@final
class Table:
    """The matrix of statistics of a run.

    Args:
        rows: the matrix, [rows, statistics].
        layout: of the program.
    """

    def __init__(self, rows: np.ndarray[Any, Any], layout: Layout) -> None:
        self._rows = rows
        self._turns: Mapping[str, int] = {one.key: one.turns for one in layout.repeats}

    def value(self, one: Instance) -> np.ndarray[Any, Any]:
        """Statistics of a value."""
        return self._row(one.site.row, one)

    def gradient(self, one: Instance) -> np.ndarray[Any, Any]:
        """Statistics of the gradient with respect to it."""
        return self._row(one.site.gradient_row, one)

    def size(self, one: Instance) -> Size:
        """How large the gradient with respect to a value is."""
        return _size(self.gradient(one))

    def sizes_in_time(self, one: Instance) -> list[Size]:
        """How large it is at each step, for what is read step by step."""
        steps = one.site.shape[one.site.time_axis]
        first = one.site.time_row + self._place(one) * steps
        return [_size(row) for row in self._rows[first : first + steps]]

    def of_value(self, one: Instance, statistic: str) -> float:
        """One statistic of a value."""
        return float(self.value(one)[_COLUMN[statistic]])

    def of_gradient(self, one: Instance, statistic: str) -> float:
        """One statistic of the gradient."""
        return float(self.gradient(one)[_COLUMN[statistic]])

    def _row(self, first: int, one: Instance) -> np.ndarray[Any, Any]:
        row: np.ndarray[Any, Any] = self._rows[first + self._place(one)]
        return row

    def _place(self, one: Instance) -> int:
        place = 0
        for key, turn in zip(one.site.within, one.turns, strict=True):
            place = place * self._turns[key] + turn
        return place


def _size(row: np.ndarray[Any, Any]) -> Size:
    # Without a finite element there is no size.
    return Size(*(math.inf if math.isnan(number) else float(number) for number in (row[_RMS], row[_NORM])))

"""How far the values of a trace are from the loss, counted in layers."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import final

from gradserve_server.common.tracing import Instance
from gradserve_server.front.tracing.values import Key, Use, Values, key_of

# They compute nothing of their own.
_PASSING_ON = frozenset({"block", "loss"})
_GIVEN = frozenset({"input", "parameter", "target"})
_MATRIX = 2


@dataclasses.dataclass(frozen=True)
class _Sources:
    """What a value depends on.

    Attributes:
        data: whether on an input.
        axes: the most axes of a parameter it depends on; -1 where on none.
    """

    data: bool
    axes: int


@final
class Depth:
    """Layers of a network, in the order in which gradients reach them.

    A layer is an operation that combines data with weights: a matrix or more of them; where there is none, any
    parameter; where there is none of those either, any operation on data.

    Attributes:
        levels: the results of layers by their distance from the loss, which is the most layers that lie between them.
        reached: by key, the distance of every value on the way, parameters left aside.
        onward: by key, the use along which the way to the loss is longest.
    """

    def __init__(self, values: Values) -> None:
        self._values = values
        self._sources = self._find_sources()
        layers: set[Key] = set()
        for least in (_MATRIX, 0, -1):
            layers = {key_of(one) for one in values.all if self._is_layer(one, least)}
            if layers:
                break
        self.onward: dict[Key, Use] = {}
        self.reached: dict[Key, int] = {}
        for one in reversed(values.all):
            self._reach(one, layers)
        levels: dict[int, list[Instance]] = {}
        for one in values.all:
            key = key_of(one)
            if key in layers and key in self.reached:
                levels.setdefault(self.reached[key], []).append(one)
        self.levels = [levels[distance] for distance in sorted(levels)]

    @property
    def predictions(self) -> list[Instance]:
        """What the loss is computed from and depends on data."""
        return [
            value
            for loss in self._values.all
            if loss.site.operation == "loss"
            for value in self._values.inputs(loss)
            if key_of(value) in self.reached
        ]

    def is_of_data(self, value: Instance) -> bool:
        """Whether a value depends on an input."""
        return self._sources[key_of(value)].data

    def _find_sources(self) -> Mapping[Key, _Sources]:
        found: dict[Key, _Sources] = {}
        for one in self._values.all:
            if one.site.operation in _GIVEN:
                is_parameter = one.site.operation == "parameter"
                found[key_of(one)] = _Sources(
                    one.site.operation == "input", len(one.site.shape) if is_parameter else -1
                )
                continue
            known = [found[key_of(source)] for source in self._values.inputs(one)]
            found[key_of(one)] = _Sources(
                any(source.data for source in known), max((source.axes for source in known), default=-1)
            )
        return found

    def _is_layer(self, one: Instance, least: int) -> bool:
        """Whether it combines data with parameters of at least so many axes."""
        if one.site.operation in _PASSING_ON | _GIVEN or not one.site.connected or one.site.gradient_row < 0:
            return False
        sources = [self._sources[key_of(source)] for source in self._values.inputs(one)]
        if not any(source.data for source in sources):
            return False
        return least < 0 or any(not source.data and source.axes >= least for source in sources)

    def _reach(self, one: Instance, layers: set[Key]) -> None:
        if not self._sources[key_of(one)].data or one.site.gradient_row < 0:
            return
        longest = -1
        for use in self._values.passing(one):
            by = key_of(use.by)
            distance = 0 if use.by.site.operation == "loss" else self.reached.get(by, -2) + (by in layers)
            if distance > longest:
                longest = distance
                self.onward[key_of(one)] = use
        if longest >= 0:
            self.reached[key_of(one)] = longest

    def count_of_data(self, value: Instance) -> int:
        """How many of its inputs depend on an input of the network."""
        return sum(self.is_of_data(source) for source in self._values.inputs(value))

    def weights(self, layer: Instance) -> Instance | None:
        """The largest parameter of a layer."""
        found = [one for one in self._values.inputs(layer) if one.site.operation == "parameter"]
        return max(found, key=lambda one: math.prod(one.site.shape), default=None)

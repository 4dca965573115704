"""Inputs whose values decide what is computed: they belong to the program, and so to its spec.

Only the worker reads networks, so the front learns from it which inputs these are, and remembers.
"""

from __future__ import annotations

import collections
import dataclasses
import hashlib
import threading
from typing import final

import msgspec
import numpy as np

from gradserve_server.common.errors import Problem, Reason
from gradserve_server.common.specs import NetworkSource, StaticValue
from gradserve_server.front.convert import Task

_MOST_NETWORKS = 512
# A program for each value: what is larger is data, not a shape.
_MOST_BYTES = 1 << 20


@final
class StaticInputs:
    """Thread-safe. The least recently used networks are forgotten, and learned again when they come back."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._names: collections.OrderedDict[NetworkSource, frozenset[str]] = collections.OrderedDict()

    def complete(self, task: Task) -> Task:
        """`task` with the values of all inputs in its spec that are known to decide what its network computes."""
        spec = task.spec
        if spec.network.format == "graph":
            return task
        with self._lock:
            names = self._names.get(spec.network)
            if names is None:
                return task
            self._names.move_to_end(spec.network)
        first = len(spec.weights or ())
        arrays = task.arrays[first : first + len(spec.batch)]
        static = tuple(
            StaticValue(form, array.tobytes() if isinstance(array, np.ndarray) else bytes(array))
            for form, array in zip(spec.batch, arrays, strict=True)
            if form.name in names
        )
        given = sum(len(one.data) for one in static)
        if given > _MOST_BYTES:
            largest = max(static, key=lambda one: len(one.data)).array
            raise Problem(
                Reason.TOO_LARGE,
                "inputs whose values decide what is computed are too large",
                field=f"batch.{largest.name}",
                given=f"{given} bytes",
                expected=f"at most {_MOST_BYTES} bytes",
                metadata={"needed_bytes": str(given), "limit_bytes": str(_MOST_BYTES)},
            )
        values = hashlib.sha256(task.key)
        for one in static:
            values.update(one.data)
        return dataclasses.replace(task, spec=msgspec.structs.replace(spec, static=static), key=values.digest())

    def learn(self, network: NetworkSource, names: tuple[str, ...]) -> None:
        """Remembers that `names` decide what `network` computes."""
        with self._lock:
            known = self._names.get(network, frozenset())
            if known.issuperset(names):
                raise AssertionError(f"the worker asks for values that it has: {names}")
            self._names[network] = known | frozenset(names)
            self._names.move_to_end(network)
            while len(self._names) > _MOST_NETWORKS:
                self._names.popitem(last=False)

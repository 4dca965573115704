"""Sequences and optionals: they live at tracing only, as tuples and None."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np

from gradserve_server.compute.frontends.onnx.call import Call
from gradserve_server.compute.frontends.onnx.table import Value, operator


def _sequence(call: Call) -> tuple[Any, ...]:
    value = call.inputs[0]
    if not isinstance(value, tuple):
        raise call.refuse("input 0 should be a sequence")
    return value


def _place(call: Call, index: int, size: int, default: int, *, after: bool = False) -> int:
    place = int(call.number(index, default))
    found = place + size if place < 0 else place
    if not 0 <= found < size + after:
        raise call.refuse(f"there is no place {place}", given=f"a sequence of {size}")
    return found


@operator("SequenceEmpty", 11)
def empty(call: Call) -> Value:  # noqa: ARG001 (its type is that of what is put into it)
    return ()


@operator("SequenceConstruct", 11, folds=True)
def construct(call: Call) -> Value:
    return tuple(call.inputs)


@operator("SequenceInsert", 11, static=(2,), folds=True)
def insert(call: Call) -> Value:
    values = list(_sequence(call))
    values.insert(_place(call, 2, len(values), len(values), after=True), call.inputs[1])
    return tuple(values)


@operator("SequenceErase", 11, static=(1,), folds=True)
def erase(call: Call) -> Value:
    values = list(_sequence(call))
    del values[_place(call, 1, len(values), -1)]
    return tuple(values)


@operator("SequenceAt", 11, static=(1,), folds=True)
def at(call: Call) -> Value:
    values = _sequence(call)
    return values[_place(call, 1, len(values), 0)]


@operator("SequenceLength", 11, forms_only=(0,), folds=True)
def length(call: Call) -> Value:
    return np.asarray(len(_sequence(call)), np.int64)


@operator("ConcatFromSequence", 11, folds=True)
def concatenate(call: Call) -> Value:
    values = list(_sequence(call))
    xp = np if all(isinstance(value, np.ndarray) for value in values) else jnp
    axis = call.attribute("axis")
    return xp.stack(values, axis) if call.attribute("new_axis", 0) else xp.concatenate(values, axis)


@operator("SplitToSequence", 11, 24, static=(1,), folds=True)
def split(call: Call) -> Value:
    x = call.inputs[0]
    axis = call.axis(call.attribute("axis", 0), x.ndim)
    total = x.shape[axis]
    if not call.has(1):
        index = (slice(None),) * axis
        parts = [x[(*index, slice(start, start + 1))] for start in range(total)]
        keep = call.attribute("keepdims", 1)
        return tuple(part if keep else part.squeeze(axis) for part in parts)
    given = call.static(1)
    if given.ndim == 0:
        each = int(given)
        sizes = [min(each, total - start) for start in range(0, total, each)]
    else:
        sizes = [int(one) for one in given]
    if sum(sizes) != total or min(sizes, default=0) < 0:
        raise call.refuse(f"parts of {sizes} do not make up an axis of {total}")
    starts = np.cumsum([0, *sizes[:-1]])
    return tuple(
        x[(*((slice(None),) * axis), slice(int(start), int(start) + one))]
        for start, one in zip(starts, sizes, strict=True)
    )


@operator("Optional", 15, 28, folds=True)
def optional(call: Call) -> Value:
    return call.inputs[0] if call.inputs else None


@operator("OptionalHasElement", 15, 18, 28, forms_only=(0,), folds=True)
def has_element(call: Call) -> Value:
    return np.asarray(bool(call.inputs) and call.inputs[0] is not None)


@operator("OptionalGetElement", 15, 18, 28, folds=True)
def element(call: Call) -> Value:
    if not call.inputs or call.inputs[0] is None:
        raise call.refuse("the optional is empty")
    return call.inputs[0]

"""Batches on their way into a program that was compiled for more examples, and its results on their way back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from msgspec import structs

from gradserve_server.common.memory import aligned
from gradserve_server.common.specs import Program, ProgramSpec, ResultSpec
from gradserve_server.compute.program import examples_of
from gradserve_server.compute.rows import Form, Rows

Call = Callable[..., Sequence[Any]]


def of_its_own_size(spec: ProgramSpec, key: bytes, whole: Program, rows: Sequence[Form]) -> Program:
    """The program of `spec`, as `whole` computes it on a padded batch.

    Args:
        spec: of the batch as it is sent.
        key: of that spec.
        whole: the program of the padded batch.
        rows: where the examples lie in each result of `whole`.
    """
    examples = examples_of(spec)
    results = tuple(_cut_form(one, form, examples) for one, form in zip(whole.results, rows, strict=True))
    weights = whole.arguments[: len(spec.weights or ())]
    return structs.replace(
        whole,
        key=key,
        arguments=(*weights, *spec.batch, *spec.vectors),
        results=results,
        peak_bytes=whole.peak_bytes + sum(one.nbytes for one in whole.arguments[len(weights) :]),
        padded_examples=next(one.shape[0] for one in whole.arguments[len(weights) :] if one.name not in spec.shared),
    )


def padding_call(spec: ProgramSpec, call: Call, padded_examples: int, rows: Sequence[Form]) -> Call:
    """Calls a program with a padded batch: takes arrays of `spec` and gives results as `of_its_own_size` says.

    Args:
        spec: of the batch as it is sent.
        call: of the padded batch; it takes, last in the batch, which of the examples are present.
        padded_examples: how many it takes.
        rows: where the examples lie in each of its results; checks that come after those are of all examples.
    """
    examples = examples_of(spec)
    # On the device already: that is the cheaper argument.
    present = jax.device_put(np.arange(padded_examples) < examples)
    own = [one.name not in spec.shared for one in spec.batch]
    after = len(spec.vectors) + 1

    def padded_call(*arrays: Any) -> Sequence[Any]:
        first = len(arrays) - after - len(own)
        batch = [
            pad(np.asarray(one), padded_examples) if is_own else one
            for one, is_own in zip(arrays[first : len(arrays) - after], own, strict=True)
        ]
        found = call(*arrays[:first], *batch, present, *arrays[-after:])
        results = [cut(one, form, padded_examples, examples) for one, form in zip(found, rows, strict=False)]
        return [*results, *found[len(rows) :]]

    return padded_call


def pad(array: np.ndarray, examples: int) -> np.ndarray:
    """An aligned copy of `array` [n, ...] with its first row repeated: [examples, ...]; itself where it has them."""
    if len(array) == examples:
        return array
    shape = (examples, *array.shape[1:])
    whole = aligned(int(np.prod(shape)) * array.itemsize).view(array.dtype).reshape(shape)
    whole[: len(array)] = array
    whole[len(array) :] = array[:1]
    return whole


def cut(result: Any, rows: Form, examples: int, kept: int) -> Any:
    """The part of a result that belongs to its first `kept` examples."""
    if rows is None or kept == examples:
        return result
    array, axis = np.asarray(result), rows.axis
    before, after = array.shape[:axis], array.shape[axis + 1 :]
    divided = array.reshape(*before, rows.outer, examples, rows.inner, *after)
    return divided[(slice(None),) * (axis + 1) + (slice(kept),)].reshape(*before, rows.size(kept), *after)


def _cut_form(result: ResultSpec, rows: Rows | None, examples: int) -> ResultSpec:
    if rows is None:
        return result
    shape = result.array.shape
    cut_shape = (*shape[: rows.axis], rows.size(examples), *shape[rows.axis + 1 :])
    return structs.replace(result, array=structs.replace(result.array, shape=cut_shape))

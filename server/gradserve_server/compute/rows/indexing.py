"""How gather and scatter treat the rows of their operands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gradserve_server.compute.rows.layout import Form, Rows
from gradserve_server.compute.rows.rules import Rule, Step, shape_of


def _gather(equation: Any, states: Sequence[Form], _examples: int) -> Step | None:
    values, indices = states
    numbers = equation.params["dimension_numbers"]
    sizes = equation.params["slice_sizes"]
    rank = len(shape_of(equation.outvars[0]))
    beside = [axis for axis in range(rank) if axis not in numbers.offset_dims]
    if indices is None:
        assert values is not None
        kept = [
            axis
            for axis in range(len(sizes))
            if axis not in numbers.collapsed_slice_dims and axis not in numbers.operand_batching_dims
        ]
        if values.axis in kept:
            # The rows come out whole: each example's own slice.
            if (
                values.axis in numbers.start_index_map
                or sizes[values.axis] != shape_of(equation.invars[0])[values.axis]
            ):
                return None
            place = numbers.offset_dims[kept.index(values.axis)]
            return Step((values.on(place),), (values, None), _resized_slice(equation, values))
        if values.axis not in numbers.operand_batching_dims:
            return None
        indices = values.on(numbers.start_indices_batching_dims[numbers.operand_batching_dims.index(values.axis)])
    batching = numbers.start_indices_batching_dims
    if indices.axis in batching:
        own = indices.on(numbers.operand_batching_dims[batching.index(indices.axis)])
        if values not in (None, own):
            return None
        return Step((indices.on(beside[indices.axis]),), (own, indices))
    if values is not None or indices.axis == len(shape_of(equation.invars[1])) - 1:
        return None
    return Step((indices.on(beside[indices.axis]),), (None, indices))


def _resized_slice(equation: Any, rows: Rows) -> Any:
    sizes = equation.params["slice_sizes"]

    def parameters(examples: int) -> Mapping[str, Any]:
        return {"slice_sizes": (*sizes[: rows.axis], rows.size(examples), *sizes[rows.axis + 1 :])}

    return parameters


def _scatter(equation: Any, states: Sequence[Form], _examples: int) -> Step | None:
    indices = states[1]
    numbers = equation.params["dimension_numbers"]
    operand_shape, update_shape = shape_of(equation.invars[0]), shape_of(equation.invars[2])
    beside = [axis for axis in range(len(update_shape)) if axis not in numbers.update_window_dims]
    kept = [
        axis
        for axis in range(len(operand_shape))
        if axis not in numbers.inserted_window_dims and axis not in numbers.operand_batching_dims
    ]
    rows = _scattered_rows(numbers, states, kept, beside)
    if rows is None:
        return None
    if rows.axis in kept:
        window = rows.on(numbers.update_window_dims[kept.index(rows.axis)])
        whole = operand_shape[rows.axis] == update_shape[window.axis]
        if rows.axis in numbers.scatter_dims_to_operand_dims or not whole or indices is not None:
            return None
        needed: tuple[Form, ...] = (rows, None, window)
    elif rows.axis in numbers.operand_batching_dims:
        own = rows.on(numbers.scatter_indices_batching_dims[numbers.operand_batching_dims.index(rows.axis)])
        needed = (rows, own, rows.on(beside[own.axis]))
    else:
        return None
    if any(state not in (None, wanted) for state, wanted in zip(states, needed, strict=True)):
        return None
    return Step((rows,), needed)


def _scattered_rows(numbers: Any, states: Sequence[Form], kept: Sequence[int], beside: Sequence[int]) -> Form:
    """Where the rows lie in the result, from the first operand that tells."""
    values, indices, updates = states
    if values is not None:
        return values
    batching = numbers.scatter_indices_batching_dims
    if updates is not None and updates.axis in numbers.update_window_dims:
        return updates.on(kept[numbers.update_window_dims.index(updates.axis)])
    if updates is not None:
        indices = updates.on(beside.index(updates.axis))
    if indices is not None and indices.axis in batching:
        return indices.on(numbers.operand_batching_dims[batching.index(indices.axis)])
    return None


_SCATTERS = ("scatter", "scatter-add", "scatter-sub", "scatter-mul", "scatter-min", "scatter-max")
INDEXING: Mapping[str, Rule] = {"gather": _gather, **dict.fromkeys(_SCATTERS, _scatter)}

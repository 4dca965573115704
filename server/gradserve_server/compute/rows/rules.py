"""How each of JAX's primitives treats the rows of its operands: a row of the table for each."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gradserve_server.compute.rows.layout import Form, Rows


@dataclasses.dataclass(frozen=True)
class Step:
    """An equation that keeps rows apart.

    Attributes:
        outputs: where the examples lie in each result.
        operands: where they lie in each operand. An operand that depends on none has None if all examples use all of
            it, and otherwise the places of which each example uses its own.
        parameters: those of the primitive that depend on the number of examples, given another number of them.
    """

    outputs: tuple[Rows, ...]
    operands: tuple[Form, ...]
    parameters: Callable[[int], Mapping[str, Any]] = lambda _examples: {}


# Given the equation, what is known of its operands (one of them is Rows) and the number of examples, at least 2. None
# where examples are mixed.
Rule = Callable[[Any, Sequence[Form], int], Step | None]

RULES: dict[str, Rule] = {}


def _rule(*names: str) -> Callable[[Rule], Rule]:
    def register(rule: Rule) -> Rule:
        RULES.update(dict.fromkeys(names, rule))
        return rule

    return register


def shape_of(atom: Any) -> tuple[int, ...]:
    """Shape of a variable or literal of a jaxpr."""
    shape: tuple[int, ...] = atom.aval.shape
    return shape


def common(states: Sequence[Form]) -> Form:
    """The one layout of all that depends on examples; None where there are several."""
    found = {state for state in states if state is not None}
    return found.pop() if len(found) == 1 else None


def aligned(equation: Any, rows: Rows, count: int | None = None) -> tuple[Form, ...]:
    """Operands of an operation element by element, of which the result has this layout.

    An operand that is a number, or of size 1 along the axis, is the same for all examples.
    """
    return tuple(
        rows if len(shape_of(one)) > rows.axis and shape_of(one)[rows.axis] != 1 else None
        for one in equation.invars[:count]
    )


@_rule(
    *("abs", "acos", "acosh", "add", "add_any", "and", "asin", "asinh", "atan", "atan2", "atanh", "bessel_i0e"),
    *("bessel_i1e", "bitcast_convert_type", "cbrt", "ceil", "clamp", "clz", "conj", "convert_element_type", "copy"),
    *("copy_p", "cos", "cosh", "digamma", "div", "eq", "eq_to", "erf", "erf_inv", "erfc", "exp", "exp2", "expm1"),
    *("floor", "ge", "gt", "igamma", "igammac", "imag", "integer_pow", "is_finite", "le", "le_to", "lgamma", "log"),
    *("log1p", "logistic", "lt", "lt_to", "max", "min", "mul", "ne", "neg", "nextafter", "not", "or", "polygamma"),
    *("population_count", "pow", "real", "reduce_precision", "regularized_incomplete_beta", "rem", "round", "rsqrt"),
    *("select_n", "shift_left", "shift_right_arithmetic", "shift_right_logical", "sign", "sin", "sinh", "sqrt"),
    *("square", "stop_gradient", "sub", "tan", "tanh", "xor", "zeta", "complex", "name"),
)
def _elementwise(equation: Any, states: Sequence[Form], _examples: int) -> Step | None:
    rows = common(states)
    if rows is None:
        return None
    return Step((rows,), aligned(equation, rows))


ELEMENTWISE = frozenset(RULES)


@_rule("optimization_barrier")
def _apart(_equation: Any, states: Sequence[Form], _examples: int) -> Step | None:
    outputs = tuple(state for state in states if state is not None)
    # What depends on no example goes through beside what does: rare enough to leave it.
    return Step(outputs, outputs) if len(outputs) == len(states) else None


@_rule("broadcast_in_dim")
def _broadcast_in_dim(equation: Any, states: Sequence[Form], _examples: int) -> Step | None:
    rows = states[0]
    assert rows is not None
    moved = rows.on(equation.params["broadcast_dimensions"][rows.axis])
    return Step((moved,), (rows, *(None,) * (len(states) - 1)), _resized(equation, "shape", moved))


def _resized(equation: Any, name: str, rows: Rows) -> Callable[[int], Mapping[str, Any]]:
    """A parameter that is a shape, with another number of examples."""
    sizes = equation.params[name]

    def parameters(examples: int) -> Mapping[str, Any]:
        return {name: (*sizes[: rows.axis], rows.size(examples), *sizes[rows.axis + 1 :])}

    return parameters


@_rule("reshape")
def _reshape(equation: Any, states: Sequence[Form], examples: int) -> Step | None:
    rows = states[0]
    assert rows is not None
    before, after = shape_of(equation.invars[0]), equation.params["new_sizes"]
    # Elements of one example are this far from those of the next, and examples come round after `span` elements.
    stride = rows.inner * math.prod(before[rows.axis + 1 :])
    span = stride * examples
    if equation.params["dimensions"] is not None or not math.prod(before):
        return None
    for axis, size in enumerate(after):
        below = math.prod(after[axis + 1 :])
        if stride % below == 0 and (below * size) % span == 0:
            inner = stride // below
            moved = Rows(axis, size // (inner * examples), inner)
            return Step((moved,), (rows, *(None,) * (len(states) - 1)), _resized(equation, "new_sizes", moved))
    return None


@_rule("transpose")
def _transpose(equation: Any, states: Sequence[Form], _examples: int) -> Step | None:
    rows = states[0]
    assert rows is not None
    return Step((rows.on(equation.params["permutation"].index(rows.axis)),), (rows,))


@_rule("squeeze")
def _squeeze(equation: Any, states: Sequence[Form], _examples: int) -> Step | None:
    rows = states[0]
    assert rows is not None
    return Step((_without(rows, equation.params["dimensions"]),), (rows,))


def _without(rows: Rows, axes: Sequence[int]) -> Rows:
    return rows.on(rows.axis - sum(axis < rows.axis for axis in axes))


@_rule("rev")
def _rev(equation: Any, states: Sequence[Form], _examples: int) -> Step | None:
    rows = states[0]
    if rows is None or rows.axis in equation.params["dimensions"]:
        return None
    return Step((rows,), (rows,))


@_rule("pad")
def _pad(equation: Any, states: Sequence[Form], _examples: int) -> Step | None:
    rows = states[0]
    if rows is None or tuple(equation.params["padding_config"][rows.axis]) != (0, 0, 0):
        return None
    return Step((rows,), (rows, None))


@_rule("tile")
def _tile(equation: Any, states: Sequence[Form], _examples: int) -> Step | None:
    rows = states[0]
    assert rows is not None
    repeated = dataclasses.replace(rows, outer=rows.outer * int(equation.params["reps"][rows.axis]))
    return Step((repeated,), (rows,))


@_rule("stack")
def _stack(equation: Any, states: Sequence[Form], _examples: int) -> Step | None:
    rows = common(states)
    if rows is None:
        return None
    moved = rows.on(rows.axis + (equation.params["axis"] <= rows.axis))
    return Step((moved,), (rows,) * len(states))


@_rule("concatenate")
def _concatenate(equation: Any, states: Sequence[Form], _examples: int) -> Step | None:
    axis = equation.params["dimension"]
    if axis not in {state.axis for state in states if state is not None}:
        rows = common(states)
        return None if rows is None else Step((rows,), (rows,) * len(states))
    # Whole batches one after the other, such as two views of each example.
    inner = {(state.axis, state.inner) if state else None for state in states}
    if len(inner) != 1 or None in inner:
        return None
    outer = sum(state.outer for state in states if state is not None)
    first = states[0]
    assert first is not None
    return Step((dataclasses.replace(first, outer=outer),), tuple(states))


@_rule("split")
def _split(equation: Any, states: Sequence[Form], examples: int) -> Step | None:
    rows = states[0]
    assert rows is not None
    sizes = [int(size) for size in equation.params["sizes"]]
    if equation.params["axis"] != rows.axis:
        return Step((rows,) * len(sizes), (rows,))
    span = examples * rows.inner
    if any(size % span for size in sizes):
        return None
    outputs = tuple(dataclasses.replace(rows, outer=size // span) for size in sizes)
    return Step(outputs, (rows,), lambda few: {"sizes": tuple(size // examples * few for size in sizes)})


@_rule("slice")
def _slice(equation: Any, states: Sequence[Form], examples: int) -> Step | None:
    rows = states[0]
    assert rows is not None
    axis, span = rows.axis, examples * rows.inner
    start, limit = equation.params["start_indices"], equation.params["limit_indices"]
    strides = equation.params["strides"]
    if (strides and strides[axis] != 1) or start[axis] % span or limit[axis] % span:
        return None
    outer = (limit[axis] - start[axis]) // span
    if not outer:
        return None

    def parameters(few: int) -> Mapping[str, Any]:
        return {
            name: (*one[:axis], one[axis] // examples * few, *one[axis + 1 :])
            for name, one in (("start_indices", start), ("limit_indices", limit))
        }

    return Step((dataclasses.replace(rows, outer=outer),), (rows,), parameters)


@_rule("dynamic_slice")
def _dynamic_slice(equation: Any, states: Sequence[Form], _examples: int) -> Step | None:
    rows = states[0]
    if rows is None or equation.params["slice_sizes"][rows.axis] != shape_of(equation.invars[0])[rows.axis]:
        return None
    return Step((rows,), (rows, *(None,) * (len(states) - 1)), _resized(equation, "slice_sizes", rows))


@_rule("dynamic_update_slice")
def _dynamic_update_slice(equation: Any, states: Sequence[Form], _examples: int) -> Step | None:
    rows = common(states[:2])
    if rows is None:
        return None
    operand, update = (shape_of(one) for one in equation.invars[:2])
    if operand[rows.axis] != update[rows.axis]:
        return None
    return Step((rows,), (rows, rows, *(None,) * (len(states) - 2)))


@_rule("reduce_sum", "reduce_max", "reduce_min", "reduce_prod", "reduce_and", "reduce_or", "reduce_xor")
@_rule("argmax", "argmin")
def _reduce(equation: Any, states: Sequence[Form], _examples: int) -> Step | None:
    rows = states[0]
    axes = equation.params["axes"]
    if rows is None or rows.axis in axes:
        return None
    return Step((_without(rows, axes),), (rows,))


@_rule("reduce")
def _reduce_by(equation: Any, states: Sequence[Form], _examples: int) -> Step | None:
    rows = common(states)
    axes = equation.params["dimensions"]
    if rows is None or rows.axis in axes:
        return None
    count = len(equation.outvars)
    return Step((_without(rows, axes),) * count, (rows,) * count + (None,) * count)


@_rule("cumsum", "cumprod", "cummax", "cummin", "cumlogsumexp", "top_k")
def _along(equation: Any, states: Sequence[Form], _examples: int) -> Step | None:
    rows = states[0]
    if rows is None or equation.params["axis"] == rows.axis:
        return None
    return Step((rows,) * len(equation.outvars), (rows,))


@_rule("sort")
def _sort(equation: Any, states: Sequence[Form], _examples: int) -> Step | None:
    rows = common(states)
    if rows is None or equation.params["dimension"] == rows.axis:
        return None
    return Step((rows,) * len(states), (rows,) * len(states))


@_rule("fft")
def _fft(equation: Any, states: Sequence[Form], _examples: int) -> Step | None:
    rows = states[0]
    if rows is None or rows.axis >= len(shape_of(equation.invars[0])) - len(equation.params["fft_lengths"]):
        return None
    return Step((rows,), (rows,))


_WINDOW = {
    "window_dimensions": 1,
    "window_strides": 1,
    "padding": (0, 0),
    "base_dilation": 1,
    "window_dilation": 1,
}


@_rule("reduce_window_sum", "reduce_window_max", "reduce_window_min", "reduce_window", "select_and_gather_add")
@_rule("select_and_scatter_add")
def _window(equation: Any, states: Sequence[Form], _examples: int) -> Step | None:
    rows = common(states)
    if rows is None:
        return None
    for name, single in _WINDOW.items():
        if name in equation.params and equation.params[name][rows.axis] != single:
            return None
    operands = tuple(rows if shape_of(one) else None for one in equation.invars)
    return Step((rows,) * len(equation.outvars), operands)


@_rule("dot_general")
def _dot_general(equation: Any, states: Sequence[Form], _examples: int) -> Step | None:
    contracted, batch = equation.params["dimension_numbers"]
    sides = []
    for state, contracted_axes, batch_axes in zip(states, contracted, batch, strict=True):
        if state is not None and state.axis in contracted_axes:
            return None
        sides.append(None if state is None or state.axis not in batch_axes else batch_axes.index(state.axis))
    left, right = states
    if left is None or right is None:
        side = 0 if right is None else 1
        rows, place = states[side], sides[side]
        assert rows is not None
        if place is None:
            operands = (rows, None) if side == 0 else (None, rows)
            return Step((rows.on(_free_axis(equation, side, rows.axis)),), operands)
    elif sides[0] is None or sides[0] != sides[1] or left.on(0) != right.on(0):
        return None
    else:
        rows, place = left, sides[0]
    return Step((rows.on(place),), (rows.on(batch[0][place]), rows.on(batch[1][place])))


def _free_axis(equation: Any, side: int, axis: int) -> int:
    """Where an axis of one side that is neither contracted nor one of the batch comes out."""
    contracted, batch = equation.params["dimension_numbers"]
    ranks = [len(shape_of(one)) for one in equation.invars]
    free = [one for one in range(ranks[side]) if one not in contracted[side] and one not in batch[side]]
    before = len(batch[0]) + (ranks[0] - len(contracted[0]) - len(batch[0]) if side else 0)
    return before + free.index(axis)


@_rule("conv_general_dilated")
def _convolution(equation: Any, states: Sequence[Form], _examples: int) -> Step | None:
    rows, kernel = states
    numbers = equation.params["dimension_numbers"]
    if rows is None or kernel is not None or rows.axis != numbers.lhs_spec[0]:
        return None
    if equation.params["batch_group_count"] != 1:
        return None
    return Step((rows.on(numbers.out_spec[0]),), (rows, None))

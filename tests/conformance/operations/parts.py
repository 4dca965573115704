"""Rows of the table as parts of a network: each in a block of its own, once or again and again."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from gradserve.v1 import network_pb2, tensor_pb2
from tests.conformance.operations.graphs import Arrays, free, graph, load, node, signature, spec
from tests.conformance.operations.rows import ROWS, Row
from tests.conformance.operations.test_operations import fill, letters, nodes

Elementwise, Arithmetic, Reduce = network_pb2.Elementwise, network_pb2.Arithmetic, network_pb2.Reduce
# Rows in one network: a program for each would spend its time on being compiled.
TOGETHER = 8
# Operations whose gradients take different ways; the rest of the table is for `make test-long`.
FIRST = {"dense", "gather", "recurrent", "select", "tangent"}
# Where a row leaves it open.
EXAMPLES = 3


@dataclasses.dataclass(frozen=True)
class Part:
    """One row in a network of many.

    Attributes:
        row: the row.
        name: of the block that holds it.
        inputs: of the network, by name.
        shared: inputs that hold no examples.
        block: the node.
        feeds_back: whether the next turn is fed what the operation gives.
        axis: of the block's result along which examples lie.
    """

    row: Row
    name: str
    inputs: dict[str, np.ndarray]
    shared: tuple[str, ...]
    block: network_pb2.Node
    feeds_back: bool
    axis: int = 0


def part(row: Row, name: str, turns: int) -> Part:
    """The block ends in sin(result), or where it is repeated and cannot feed back, in carry + mean(sin(result)^2)."""
    inputs, generator = fill(row, {letter: row.least + index % 2 for index, letter in enumerate(letters(row), 1)})
    form = signature(load(graph(specs(inputs), *nodes(row, inputs))), inputs).outputs["node"]
    is_real = bool(inputs) and inputs["x0"].dtype == np.float64
    is_like_first = is_real and row.kind(0) == "real" and (form.shape, form.dtype) == (inputs["x0"].shape, np.float64)
    feeds_back = turns > 1 and is_like_first
    if (turns > 1 and not is_real) or not inputs:
        inputs = {"carry": generator.normal(size=(2,)), **inputs}
    axes = range(len(form.shape)) if turns > 1 and not feeds_back else None
    return _in_block(row, name, turns, inputs, axes, sine=not feeds_back)


def part_of_examples(row: Row, name: str, turns: int) -> Part:
    """As `part`, but that examples stay apart: where the result is not fed back, each has its own carry and mean."""
    inputs, generator = _with_examples(row)
    shared = [f"x{index}" for index in range(len(inputs)) if index in row.shared or _differs(row, index)]
    form = signature(load(graph(specs(inputs), *nodes(row, inputs))), inputs).outputs["node"]
    axis = 0 if isinstance(row.examples, str) else row.examples
    is_real = any(value.dtype == np.float64 for value in inputs.values())
    feeds_back = turns > 1 and axis == 0 and "x0" not in shared and row.kind(0) == "real"
    feeds_back = feeds_back and (form.shape, form.dtype) == (inputs["x0"].shape, np.float64)
    if is_real and axis is not None and (turns == 1 or feeds_back):
        found = _in_block(row, name, turns, inputs, None, sine=not feeds_back)
        return dataclasses.replace(found, shared=_named(name, shared), axis=axis)
    count = inputs[_first(inputs, shared)].shape[0] if inputs else EXAMPLES
    inputs = {"carry": generator.normal(size=(count,)), **inputs}
    # Where they depend on each other, the mean may be over all of them.
    axes = [place for place in range(len(form.shape)) if place != axis or isinstance(row.examples, str)]
    shape: tuple[int, ...] = ()
    if axis is not None and form.shape and form.shape[axis] != count and not isinstance(row.examples, str):
        # Examples are the inner part of this axis.
        shape = (form.shape[0] // count, count, *form.shape[1:])
        axes = [place for place in range(len(shape)) if place != 1]
    found = _in_block(row, name, turns, inputs, axes, sine=True, shape=shape)
    return dataclasses.replace(found, shared=_named(name, shared))


def _named(name: str, inputs: Sequence[str]) -> tuple[str, ...]:
    return tuple(f"{name}_{one}" for one in inputs)


def specs(inputs: Arrays) -> list[tensor_pb2.TensorSpec]:
    return [spec(name, value.shape, value.dtype) for name, value in inputs.items()]


def _first(inputs: Arrays, shared: Sequence[str]) -> str:
    return next(name for name in inputs if name not in shared)


def _differs(row: Row, index: int) -> bool:
    """Whether an input has not the first axis of the first one that holds examples."""
    own = next(shape for place, shape in enumerate(row.shapes) if place not in row.shared)
    return row.shapes[index][:1] != own[:1]


def _with_examples(row: Row) -> tuple[dict[str, np.ndarray], np.random.Generator]:
    """Inputs of as many examples as the row says; where it leaves that open or says one, of some."""
    shapes = list(row.shapes)
    own = [index for index in range(len(shapes)) if index not in row.shared and not _differs(row, index)]
    if row.examples is not None:
        for index in own:
            shapes[index] = (EXAMPLES if shapes[index][0] == 1 else shapes[index][0], *shapes[index][1:])
    sizes = {letter: row.least + index % 2 for index, letter in enumerate(letters(row), 1)}
    if own and isinstance(shapes[own[0]][0], str):
        sizes[shapes[own[0]][0]] = max(EXAMPLES, row.least)
    return fill(dataclasses.replace(row, shapes=tuple(shapes)), sizes)


def _in_block(
    row: Row,
    name: str,
    turns: int,
    inputs: Arrays,
    axes: Sequence[int] | None,
    *,
    sine: bool,
    shape: Sequence[int] = (),
) -> Part:
    """With `axes`, what is carried on is the first input plus the mean of sin(result)^2 over these axes."""
    body = nodes(row, inputs)
    if sine:
        body += [
            node("real", "node", cast=network_pb2.Cast(data_type="DATA_TYPE_FLOAT64")),  # type: ignore[arg-type]
            node("wave", "real", elementwise=Elementwise(function=Elementwise.FUNCTION_SIN)),
        ]
    if axes is not None:
        reduced = "square"
        body.append(node("square", "wave", elementwise=Elementwise(function=Elementwise.FUNCTION_SQUARE)))
        if shape:
            body.append(node("apart", "square", reshape=network_pb2.Reshape(shape=shape)))
            reduced = "apart"
        # None named would be all of them.
        if axes:
            body.append(node("mean", reduced, reduce=Reduce(function=Reduce.FUNCTION_MEAN, axes=axes)))
            reduced = "mean"
        body.append(
            node("next", [next(iter(inputs)), reduced], arithmetic=Arithmetic(function=Arithmetic.FUNCTION_ADD))
        )
    block = network_pb2.Block(body=graph(free(*inputs), *body), repeat=turns if turns > 1 else None)
    named = {f"{name}_{key}": value for key, value in inputs.items()}
    return Part(row, name, named, (), node(name, list(named), block=block), feeds_back=axes is None and turns > 1)


def chunks() -> list[list[Row]]:
    """Rows of the same mode, so many together: first one for each of a few operations, then all others."""
    by_operation = {row.operation: row for row in ROWS.values() if not row.training and row.operation in FIRST}
    quick = list(by_operation.values())
    found = [quick]
    for training in (False, True):
        rows = [row for row in ROWS.values() if row.training == training and row not in quick]
        found += [rows[start : start + TOGETHER] for start in range(0, len(rows), TOGETHER)]
    return found

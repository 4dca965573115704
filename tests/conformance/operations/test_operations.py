"""Each operation against NumPy: its value, its gradient, and both inside a repeated block.

Sizes that a row leaves open differ from each other, so that no axis is taken for another; any sizes in the long tests.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradserve.v1 import network_pb2
from tests.conformance.operations.graphs import Arrays, draw, free, graph, load, node, run, signature, spec
from tests.conformance.operations.rows import ROWS, Row

TURNS = 3


every_row = pytest.mark.parametrize("row", ROWS.values(), ids=ROWS.keys())
# In a block, one row of each operation in every run; their other attributes where there is time.
FIRST = {row.operation: name for name, row in reversed(ROWS.items())}
one_of_each_often = pytest.mark.parametrize(
    "row",
    [
        pytest.param(row, id=name, marks=() if FIRST[row.operation] == name else pytest.mark.long)
        for name, row in ROWS.items()
    ],
)


def different(row: Row) -> dict[str, int]:
    """Sizes for the letters of a row, none like its neighbour."""
    return {letter: row.least + 1 + index % 2 for index, letter in enumerate(letters(row))}


def letters(row: Row) -> list[str]:
    """Sizes that the row leaves open."""
    return sorted({size for shape in row.shapes for size in shape if isinstance(size, str)})


def fill(row: Row, sizes: Mapping[Any, int]) -> tuple[dict[str, np.ndarray], np.random.Generator]:
    """Inputs x0, x1 and so on, of these sizes, and where their numbers come from."""
    generator = np.random.default_rng(zlib.crc32(f"{row.name} {sizes}".encode()))
    inputs = {}
    for index, shape in enumerate(row.shapes):
        form = tuple(sizes.get(size, size) for size in shape)
        kind = row.kind(index)
        if kind == "real":
            value = generator.normal(0.0, 1.0, form)
        elif kind == "positive":
            value = generator.uniform(0.5, 2.0, form)
        elif kind == "boolean":
            value = generator.random(form) < 0.5
        else:
            value = generator.integers(0, int(kind.partition(":")[2]), form, dtype=np.int32)
        inputs[f"x{index}"] = np.asarray(value)
    return inputs, generator


def inner(weights: Arrays) -> dict[str, np.ndarray]:
    """Weights of the row's node by the last parts of their names."""
    names = (name.removeprefix("block/").removeprefix("node").removeprefix("/") for name in weights)
    return dict(zip(names, weights.values(), strict=True))


def nodes(row: Row, inputs: Arrays) -> list[network_pb2.Node]:
    """The row's node, named "node", after those that it refers to."""
    arguments = row.arguments or [name for name in inputs if name != "carry"]
    return [*row.before, row.node(arguments)]


def differences(function: Callable[[Arrays], float], at: Arrays) -> dict[str, np.ndarray]:
    """Central differences of `function` in each element of `at`."""
    step = 1e-6
    slopes = {}
    for name, value in at.items():
        slope = np.zeros_like(value)
        for place in np.ndindex(value.shape):
            moved = []
            for sign in (1, -1):
                other = value.copy()
                other[place] += sign * step
                moved.append(function({**at, name: other}))
            slope[place] = (moved[0] - moved[1]) / (2 * step)
        slopes[name] = slope
    return slopes


def assert_gradients(row: Row, found: Arrays, expected: Arrays) -> None:
    assert set(found) == set(expected)
    for name, value in expected.items():
        wanted = np.zeros_like(value) if row.flat else value
        np.testing.assert_allclose(found[name], wanted, rtol=1e-5, atol=1e-7, err_msg=name)


def floating(inputs: Arrays) -> dict[str, np.ndarray]:
    return {name: value for name, value in inputs.items() if value.dtype == np.float64}


@every_row
def test_value_and_gradient_are_those_of_numpy(row: Row) -> None:
    assert_conforms(row, different(row))


@pytest.mark.long
@every_row
@settings(max_examples=5, derandomize=True, deadline=None, database=None)
@given(data=st.data())
def test_value_and_gradient_are_those_of_numpy_for_any_sizes(row: Row, data: st.DataObject) -> None:
    sizes = st.integers(row.least, row.least + 2)
    assert_conforms(row, {letter: data.draw(sizes, label=letter) for letter in letters(row)})


def assert_conforms(row: Row, sizes: Mapping[str, int]) -> None:
    inputs, generator = fill(row, sizes)
    specs = [spec(name, value.shape, value.dtype) for name, value in inputs.items()]
    network = load(graph(specs, *nodes(row, inputs)))
    found = signature(network, inputs)
    parameters, statistics = draw(found, generator)

    def oracle(changed: Arrays) -> np.ndarray:
        weights = {name: changed[name] for name in parameters}
        return row.oracle(inner({**weights, **statistics}), *(changed.get(name, inputs[name]) for name in inputs))

    at = {**parameters, **floating(inputs)}
    expected = oracle(at)
    assert (found.outputs["node"].shape, found.outputs["node"].dtype) == (expected.shape, expected.dtype)
    if expected.dtype != np.float64:
        result = run(network, parameters, statistics, inputs, training=row.training)
        np.testing.assert_array_equal(result.outputs["node"], expected, strict=True)
        return
    cotangent = generator.normal(size=expected.shape)
    result = run(network, parameters, statistics, inputs, training=row.training, cotangents={"node": cotangent})
    np.testing.assert_allclose(result.outputs["node"], expected, rtol=1e-9, atol=1e-11, strict=True)
    for name, value in row.updated(inner({**parameters, **statistics}), *inputs.values()).items():
        np.testing.assert_allclose(inner(result.statistics)[name], value, rtol=1e-12)
    slopes = differences(lambda changed: float(np.sum(oracle(changed) * cotangent)), at)
    assert_gradients(row, {**result.parameters, **result.inputs}, slopes)


@one_of_each_often
def test_a_repeated_block_of_it_is_numpy_again_and_again(row: Row) -> None:
    """Feeds the result back where it has the form of what was taken.

    Elsewhere the turn is carry + mean(sin(result)^2), which keeps any shape and what is positive positive.
    """
    inputs, generator = fill(row, different(row))
    if not inputs or inputs["x0"].dtype != np.float64:
        # What is carried must be differentiable: a value beside the operation.
        inputs = {"carry": generator.normal(size=(2,)), **inputs}
    first = next(iter(inputs))
    arguments = [name for name in inputs if name != "carry"]
    specs = [spec(name, value.shape, value.dtype) for name, value in inputs.items()]
    alone = load(graph(specs, *nodes(row, inputs)))
    form = signature(alone, inputs).outputs["node"]
    feeds_back = first == "x0" and row.kind(0) == "real" and form.shape == inputs[first].shape
    feeds_back = feeds_back and form.dtype == np.float64

    body = nodes(row, inputs)
    if not feeds_back:
        body += [
            node("real", "node", cast=network_pb2.Cast(data_type="DATA_TYPE_FLOAT64")),  # type: ignore[arg-type]
            node("wave", "real", elementwise=network_pb2.Elementwise(function="FUNCTION_SIN")),  # type: ignore[arg-type]
            node("square", "wave", elementwise=network_pb2.Elementwise(function="FUNCTION_SQUARE")),  # type: ignore[arg-type]
            node("mean", "square", reduce=network_pb2.Reduce(function="FUNCTION_MEAN")),  # type: ignore[arg-type]
            node("next", [first, "mean"], arithmetic=network_pb2.Arithmetic(function="FUNCTION_ADD")),  # type: ignore[arg-type]
        ]
    block = network_pb2.Block(body=graph(free(*inputs), *body), repeat=TURNS)
    network = load(graph(specs, node("block", list(inputs), block=block)))
    parameters, statistics = draw(signature(network, inputs), generator)
    assert all(len(value) == TURNS for value in (*parameters.values(), *statistics.values()))

    def oracle(changed: Arrays) -> np.ndarray:
        values = {name: changed.get(name, value) for name, value in inputs.items()}
        for turn in range(TURNS):
            weights = {name: changed.get(name, value)[turn] for name, value in {**parameters, **statistics}.items()}
            result = row.oracle(inner(weights), *(values[name] for name in arguments))
            values[first] = result if feeds_back else values[first] + np.mean(np.sin(result.astype(float)) ** 2)
        return values[first]

    at = {**parameters, **floating(inputs)}
    expected = oracle(at)
    cotangent = generator.normal(size=expected.shape)
    result = run(network, parameters, statistics, inputs, training=row.training, cotangents={"block": cotangent})
    np.testing.assert_allclose(result.outputs["block"], expected, rtol=1e-9, atol=1e-11, strict=True)
    slopes = differences(lambda changed: float(np.sum(oracle(changed) * cotangent)), at)
    if row.flat or form.dtype != np.float64:
        # Nothing flows through the operation: what is left is the carry's own way, if there is one.
        for name in slopes:
            through = cotangent if name == first and not feeds_back else np.zeros_like(slopes[name])
            np.testing.assert_allclose({**result.parameters, **result.inputs}[name], through)
        return
    assert_gradients(row, {**result.parameters, **result.inputs}, slopes)

"""Groups, depths and inputs, read off names alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

import gradserve as gs
from gradserve.trace_view.structure import Group, structure, values_of
from tests.unit.trace_view import samples

ONE = np.float32([1.0])


def traced(*rows: tuple[str, str, Sequence[str]]) -> tuple[gs.TracedValue, ...]:
    values = [samples.value(name, operation, inputs, ONE, ONE) for name, operation, inputs in rows]
    return samples.trace(0.0, values).values


def outline(group: Group) -> list[object]:
    return [
        member if isinstance(member, int) else (member.path, member.kind, outline(member)) for member in group.members
    ]


def test_layers_blocks_and_what_lies_beside_them() -> None:
    values = traced(
        ("x", "input", []),
        ("layers/0/dense/kernel", "parameter", []),
        ("layers/0/dense", "dense", ["x", "layers/0/dense/kernel"]),
        ("layers/1/dense/kernel", "parameter", []),
        ("layers/1/dense", "dense", ["layers/0/dense", "layers/1/dense/kernel"]),
        ("head/inner/relu", "relu", ["layers/1/dense"]),
        ("head/out", "dense", ["head/inner/relu"]),
        ("head/out/kernel", "parameter", []),
    )
    assert outline(structure(values).network) == [
        0,
        ("layers", "layers", [("layers/0", "layer", [1, 2]), ("layers/1", "layer", [3, 4])]),
        ("head", "block", [("head/inner", "block", [5]), 6, 7]),
    ]


def test_parameters_and_further_outputs_make_no_group_of_an_operation() -> None:
    values = traced(
        ("x", "input", []),
        ("dense_1/kernel", "parameter", []),
        ("dense_1", "dense", ["x", "dense_1/kernel"]),
        ("top", "top_k", ["dense_1"]),
        ("top/indices", "top_k", ["dense_1"]),
    )
    assert outline(structure(values).network) == [0, 1, 2, 3, 4]


def test_what_a_block_gives_is_the_value_of_its_last_node() -> None:
    values = traced(
        ("x", "input", []),
        ("b/relu", "relu", ["x"]),
        ("b", "block", ["b/relu"]),
        ("y", "relu", ["b"]),
        ("layers/0/tanh", "tanh", ["y"]),
        ("layers/1/tanh", "tanh", ["layers/0/tanh"]),
        ("layers", "block", ["layers/1/tanh"]),
    )
    graph = structure(values)
    assert outline(graph.network) == [
        0,
        ("b", "block", [1]),
        3,
        ("layers", "layers", [("layers/0", "layer", [4]), ("layers/1", "layer", [5])]),
    ]
    assert [group.result for group in graph.network.members if isinstance(group, Group)] == [2, 6]
    assert graph.inputs == ((), (0,), (), (1,), (3,), (4,), ())
    assert list(values_of(graph.network)) == [0, 1, 3, 4, 5]


def test_a_block_of_which_all_layers_are_used_stands_beside_them() -> None:
    values = traced(("x", "input", []), ("b/0/h", "tanh", ["x"]), ("b/1/h", "tanh", ["b/0/h"]))
    stacked = (*values, *traced(("b/h", "block", ["b/0/h", "b/1/h"])))
    (_, block) = structure(stacked).network.members
    assert isinstance(block, Group)
    assert outline(block) == [("b/0", "layer", [1]), ("b/1", "layer", [2]), 3]


def test_depth_is_the_longest_way_and_parameters_lie_where_they_are_first_used() -> None:
    values = traced(
        ("x", "input", []),
        ("w", "parameter", []),
        ("stacked", "parameter", []),
        ("slice", "parameter", ["stacked"]),
        ("a", "relu", ["x"]),
        ("b", "multiply", ["a", "w"]),
        ("c", "add", ["x", "b", "slice"]),
        ("d", "multiply", ["c", "w"]),
        ("unused", "parameter", []),
    )
    assert structure(values).depths == (0, 2, 3, 3, 1, 2, 3, 4, 0)


def test_inputs_that_were_not_traced_or_come_later_are_left_out() -> None:
    values = traced(("a", "relu", ["gone", "b", "a"]), ("b", "relu", ["a", "a"]))
    assert structure(values).inputs == ((), (0,))


def test_a_repeated_block_in_a_repeated_block() -> None:
    names = [f"outer/{at}/inner/{turn}/relu" for at in range(2) for turn in range(2)]
    values = traced(*((name, "relu", []) for name in names))
    (outer,) = structure(values).network.members
    assert isinstance(outer, Group)
    assert (outer.path, outer.kind) == ("outer", "layers")
    layer = outer.members[1]
    assert isinstance(layer, Group)
    assert outline(layer) == [
        ("outer/1/inner", "layers", [("outer/1/inner/0", "layer", [2]), ("outer/1/inner/1", "layer", [3])])
    ]

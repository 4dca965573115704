"""Shapes follow from named dimensions, and agree with those of any batch."""

from __future__ import annotations

import operator
from typing import Any

import jax.numpy as jnp
import pytest

from gradserve.v1 import network_pb2
from gradserve_server.common.errors import Problem
from tests.conformance.operations.graphs import free, graph, load, node, spec

SAME = network_pb2.Window.PADDING_SAME
Convolution, Pooling, Window = network_pb2.Convolution, network_pb2.Pooling, network_pb2.Window
Image = ("batch", "height", "width", 4)
Table = ("batch", "length", 6)


def window(**fields: Any) -> network_pb2.Window:
    return Window(size=[3, 2], padding=SAME, **fields)


CASES: dict[str, tuple[tuple[int | str, ...], dict[str, Any], str]] = {
    "dense": (Table, {"dense": network_pb2.Dense(units=5)}, "(batch, length, 5)"),
    "convolution": (Image, {"convolution": Convolution(filters=2, window=window())}, "(batch, height, width, 2)"),
    "strided convolution": (
        ("batch", 9, "width", 4),
        {"convolution": Convolution(filters=2, window=window(stride=[2, 1]))},
        "(batch, 5, width, 2)",
    ),
    "unpadded convolution": (
        Image,
        {"convolution": Convolution(filters=2, groups=2, window=Window(size=[3, 2]))},
        "(batch, max(height - 2, 0), width - 1, 2)",
    ),
    "transposed convolution": (
        Image,
        {"convolution": Convolution(filters=2, transposed=True, window=window(stride=[2, 2]))},
        "(batch, 2*height, 2*width, 2)",
    ),
    "maximum": (Image, {"pooling": Pooling(function=1, window=window(stride=[1, 1]))}, "(batch, height, width, 4)"),
    "dilated maximum": (
        Image,
        {"pooling": Pooling(function=1, window=window(stride=[1, 1], dilation=[2, 2]))},
        "(batch, height, width, 4)",
    ),
    "mean": (Image, {"pooling": Pooling(function=2, window=window(stride=[1, 1]))}, "(batch, height, width, 4)"),
    "mean of all": (Image, {"pooling": Pooling(function=2)}, "(batch, 4)"),
    "layer normalization": (Table, {"normalization": network_pb2.Normalization(kind=1)}, "(batch, length, 6)"),
    "group normalization": (
        Table,
        {"normalization": network_pb2.Normalization(kind=3, groups=2)},
        "(batch, length, 6)",
    ),
    "batch normalization": (Table, {"normalization": network_pb2.Normalization(kind=4)}, "(batch, length, 6)"),
    "dropout": (Table, {"dropout": network_pb2.Dropout(rate=0.5)}, "(batch, length, 6)"),
    "reduction": (Table, {"reduce": network_pb2.Reduce(function=1, axes=[1])}, "(batch, 6)"),
    "reduction that keeps": (
        Table,
        {"reduce": network_pb2.Reduce(function=5, axes=[0], keep_axes=True)},
        "(1, length, 6)",
    ),
    "reshape that splits": (Table, {"reshape": network_pb2.Reshape(shape=[0, 0, 2, -1])}, "(batch, length, 2, 3)"),
    "reshape that joins": (Table, {"reshape": network_pb2.Reshape(shape=[-1, 6])}, "(batch*length, 6)"),
    "reshape around": (Table, {"reshape": network_pb2.Reshape(shape=[0, -1])}, "(batch, 6*length)"),
    "transpose": (Table, {"transpose": network_pb2.Transpose()}, "(6, length, batch)"),
    "slice": (Table, {"slice": network_pb2.Slice(axis=1, start=1)}, "(batch, length - 1, 6)"),
    "range": (Table, {"range": network_pb2.Range(axis=1)}, "(length,)"),
    "attention": (
        Table,
        {"attention": network_pb2.Attention(heads=2, key_value_heads=1, causal=True, rotary_base=10.0, head_size=2)},
        "(batch, length, 6)",
    ),
    "recurrent": (Table, {"recurrent": network_pb2.Recurrent(cell=2, units=3)}, "(batch, length, 3)"),
    "recurrent in both directions, last": (
        Table,
        {"recurrent": network_pb2.Recurrent(cell=3, units=3, bidirectional=True, last_only=True)},
        "(batch, 6)",
    ),
    "grouped transposed convolution": (
        Image,
        {"convolution": Convolution(filters=2, groups=2, transposed=True, window=Window(size=[3, 2], stride=[2, 1]))},
        "(batch, 2*height + 1, width + 1, 2)",
    ),
    "einsum": (Table, {"einsum": network_pb2.Einsum(equation="...c->c...")}, "(6, batch, length)"),
    "rearrange": (
        Table,
        {"rearrange": network_pb2.Rearrange(pattern="b l (h d) -> (b h) new l d", sizes={"h": 2, "new": 4})},
        "(2*batch, 4, length, 3)",
    ),
    "top_k": (Table, {"top_k": network_pb2.TopK(k=2)}, "(batch, length, 2)"),
    "top_k of a named axis": (("batch", "length"), {"top_k": network_pb2.TopK(k=4, indices=True)}, "(batch, 4)"),
    "random": (Table, {"random": network_pb2.Random(distribution=3)}, "(batch, length, 6)"),
    "cumulative": (
        Table,
        {"cumulative": network_pb2.Cumulative(function=2, axis=1, reverse=True)},
        "(batch, length, 6)",
    ),
    "pad": (Table, {"pad": network_pb2.Pad(low=[0, -1, 1], high=[2, -1, 0])}, "(batch + 2, max(0, length - 2), 7)"),
    "slice inside": (
        Table,
        {"slice": network_pb2.Slice(axis=1, start=1, stop=-1, step=2)},
        "(batch, floordiv(length - 1, 2), 6)",
    ),
    "slice of the end": (Table, {"slice": network_pb2.Slice(axis=1, start=-3, stop=-1)}, "(batch, 2, 6)"),
}


@pytest.mark.parametrize("name", CASES)
def test_the_output_has_named_sizes_and_those_of_a_batch_agree(name: str) -> None:
    shape, operation, expected = CASES[name]
    network = load(graph([spec("x", shape)], node("node", "x", **operation)))
    symbolic = network.symbolic_inputs()
    found = network.signature(symbolic, jnp.float32).outputs["node"].shape
    assert str(found) == expected
    sizes = {"batch": 3, "height": 7, "width": 5, "length": 4}
    sizes = {one: size for one, size in sizes.items() if one in shape}
    bound = network.signature(network.bound_inputs(sizes), jnp.float32).outputs["node"].shape
    assert bound == tuple(eval(str(size), {"max": max, "floordiv": operator.floordiv}, sizes) for size in found)


def test_masks_contexts_and_directions_may_have_named_sizes() -> None:
    body = graph(free("x"), node("dense", "x", dense=network_pb2.Dense(units=2)))
    network = load(
        graph(
            [spec("x", Table), spec("context", ("batch", "other", 3)), spec("mask", ("batch", "other"), "bool")],
            node("cross", "x context mask", attention=network_pb2.Attention(heads=2, mask="mask")),
            node("gru", "context mask", recurrent=network_pb2.Recurrent(cell=3, units=2, mask="mask")),
            node("block", "x", block=network_pb2.Block(body=body)),
            node("tangent", "x", tangent=network_pb2.Tangent(of="block")),
            outputs=["cross", "gru", "tangent"],
        )
    )
    found = network.signature(network.symbolic_inputs(), jnp.float32).outputs
    assert {name: str(one.shape) for name, one in found.items()} == {
        "cross": "(batch, length, 6)",
        "gru": "(batch, other, 2)",
        "tangent": "(batch, length, 2)",
    }


def test_sums_and_joins_of_named_sizes() -> None:
    network = load(
        graph(
            [spec("x", Table), spec("y", Table), spec("i", ("other",), "int32")],
            node("join", "x y", concatenate=network_pb2.Concatenate(axis=-2)),
            node("sum", "x y", arithmetic=network_pb2.Arithmetic(function=1)),
            node("rows", "i", embedding=network_pb2.Embedding(rows=3, features=2)),
            node("picked", "x i", gather=network_pb2.Gather(axis=-1)),
            outputs=["join", "sum", "rows", "picked"],
        )
    )
    found = network.signature(network.symbolic_inputs(), jnp.float32).outputs
    assert {name: str(one.shape) for name, one in found.items()} == {
        "join": "(batch, 2*length, 6)",
        "sum": "(batch, length, 6)",
        "rows": "(other, 2)",
        "picked": "(batch, length, other)",
    }


@pytest.mark.parametrize(
    ("shape", "operation", "said"),
    [
        (Table, {"reshape": network_pb2.Reshape(shape=[-1, 5])}, "6*batch*length"),
        (("batch", 6), {"reshape": network_pb2.Reshape(shape=[6])}, "6*batch"),
        (("batch", "width"), {"dense": network_pb2.Dense(units=2)}, "node/kernel"),
        (("batch", "width"), {"normalization": network_pb2.Normalization(kind=1)}, "node/scale"),
        (("batch", 5, "width"), {"convolution": Convolution(filters=2, window=Window(size=[2]))}, "node/kernel"),
        (
            ("batch", 5, "width"),
            {"convolution": Convolution(filters=2, groups=2, window=Window(size=[2]))},
            "node",
        ),
    ],
)
def test_what_would_depend_on_the_batch_is_refused(shape: Any, operation: dict[str, Any], said: str) -> None:
    network = load(graph([spec("x", shape)], node("node", "x", **operation)))
    with pytest.raises(Problem) as caught:
        network.signature(network.symbolic_inputs(), jnp.float32)
    assert said in str(caught.value)
    assert caught.value.metadata["node"] == "node"

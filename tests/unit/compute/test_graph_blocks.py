"""Blocks, sharing and references: which parameters there are, and whose gradients they get."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gradserve.v1 import network_pb2
from gradserve_server.common.errors import Problem, Reason
from gradserve_server.compute.frontends.graph.network import GraphNetwork
from gradserve_server.compute.network import Context
from tests.conformance.operations.graphs import Result, draw, free, graph, load, node, run, signature, spec

Dense, Block, Embedding = network_pb2.Dense, network_pb2.Block, network_pb2.Embedding
TANH = network_pb2.Elementwise(function=network_pb2.Elementwise.FUNCTION_TANH)
ADD = network_pb2.Arithmetic(function=network_pb2.Arithmetic.FUNCTION_ADD)
MATMUL = network_pb2.Arithmetic(function=network_pb2.Arithmetic.FUNCTION_MATMUL)

X = np.random.default_rng(0).normal(size=(4, 3))


def body(units: int = 3) -> network_pb2.Graph:
    """tanh(dense(h)), with the sum before tanh as a further output."""
    return graph(
        free("h"), node("dense", "h", dense=Dense(units=units)), node("tanh", "dense", elementwise=TANH),
        outputs=["tanh", "dense"],
    )  # fmt: skip


def forward(network: GraphNetwork, parameters: Any, inputs: Any) -> Result:
    cotangents = {name: np.ones(one.shape) for name, one in signature(network, inputs).outputs.items()}
    return run(network, parameters, {}, inputs, cotangents=cotangents)


def names(network: GraphNetwork, **inputs: np.ndarray) -> dict[str, tuple[int, ...]]:
    return {name: one.shape for name, one in signature(network, inputs).parameters.items()}


def test_parameters_are_named_by_the_way_to_them_and_stacked_only_in_repeated_blocks() -> None:
    inner = graph(
        free("h"),
        node("free", parameter=network_pb2.Parameter(shape=[3])),
        node("deep", "h", block=Block(body=body(), repeat=2)),
        node("same", "deep", block=Block(body=body(), repeat=2, share_parameters=True)),
        node("sum", "same free", arithmetic=ADD),
    )
    network = load(
        graph(
            [spec("x", (4, 3))],
            node("first", "x", dense=Dense(units=3, without_bias=True)),
            node("plain", "first", block=Block(body=inner)),
            node("once", "plain", block=Block(body=inner, repeat=1)),
        )
    )
    assert names(network, x=X) == {
        "first/kernel": (3, 3),
        "plain/free": (3,),
        "plain/deep/dense/kernel": (2, 3, 3),
        "plain/deep/dense/bias": (2, 3),
        "plain/same/dense/kernel": (3, 3),
        "plain/same/dense/bias": (3,),
        "once/free": (1, 3),
        "once/deep/dense/kernel": (1, 2, 3, 3),
        "once/deep/dense/bias": (1, 2, 3),
        "once/same/dense/kernel": (1, 3, 3),
        "once/same/dense/bias": (1, 3),
    }
    assert signature(network, {"x": X}).parameters["once/deep/dense/kernel"].stacked == 2


def test_what_is_applied_has_the_form_that_was_declared() -> None:
    network = load(
        graph(
            [spec("x", (4, 3))],
            node("layers", "x", block=Block(body=body(), repeat=5)),
            node("sums", "layers/dense", elementwise=TANH),
            node("again", "layers", block=Block(body=body(), repeat=2, share_parameters=True)),
            outputs=["again", "sums"],
        )
    )
    found = signature(network, {"x": X})
    parameters, _ = draw(found, np.random.default_rng(1))
    result = forward(network, parameters, {"x": X})
    assert {name: value.shape for name, value in result.outputs.items()} == {"again": (4, 3), "sums": (5, 4, 3)}
    for name, one in found.outputs.items():
        assert (one.shape, one.dtype) == (result.outputs[name].shape, result.outputs[name].dtype)
    assert {name: one.shape for name, one in found.parameters.items()} == {
        name: value.shape for name, value in result.parameters.items()
    }


def test_a_further_output_of_a_repeated_block_holds_every_turn_in_order() -> None:
    network = load(
        graph(
            [spec("x", (4, 3))],
            node("layers", "x", block=Block(body=body(), repeat=3)),
            node("sums", "layers/dense", reshape=network_pb2.Reshape(shape=[0, 0, 0])),
        )
    )
    parameters, _ = draw(signature(network, {"x": X}), np.random.default_rng(1))
    found = run(network, parameters, {}, {"x": X}).outputs["sums"]
    h = X
    for turn in range(3):
        h = h @ parameters["layers/dense/kernel"][turn] + parameters["layers/dense/bias"][turn]
        np.testing.assert_allclose(found[turn], h)
        h = np.tanh(h)


def test_shared_parameters_of_a_repeated_block_get_the_gradients_of_all_turns() -> None:
    parts = [spec("x", (4, 3))]
    shared = load(graph(parts, node("b", "x", block=Block(body=body(), repeat=3, share_parameters=True))))
    stacked = load(graph(parts, node("b", "x", block=Block(body=body(), repeat=3))))
    parameters, _ = draw(signature(shared, {"x": X}), np.random.default_rng(2))
    one = forward(shared, parameters, {"x": X})
    many = forward(stacked, {name: np.stack([value] * 3) for name, value in parameters.items()}, {"x": X})
    np.testing.assert_allclose(one.outputs["b"], many.outputs["b"])
    for name in parameters:
        np.testing.assert_allclose(one.parameters[name], many.parameters[name].sum(0))


@pytest.mark.parametrize("repeat", [None, 2], ids=["plain", "repeated"])
def test_a_node_that_shares_adds_its_gradient_under_the_other_name(repeat: int | None) -> None:
    block = Block(body=body(), repeat=repeat) if repeat else Block(body=body())
    both = load(
        graph(
            [spec("x", (4, 3))],
            node("first", "x", block=block),
            node("second", "first", share="first"),
        )
    )
    apart = load(graph([spec("x", (4, 3))], node("first", "x", block=block), node("second", "first", block=block)))
    assert list(names(both, x=X)) == ["first/dense/kernel", "first/dense/bias"]
    parameters, _ = draw(signature(both, {"x": X}), np.random.default_rng(3))
    copies = {name.replace("first", "second"): value for name, value in parameters.items()}
    one = forward(both, parameters, {"x": X})
    two = forward(apart, parameters | copies, {"x": X})
    np.testing.assert_allclose(one.outputs["second"], two.outputs["second"])
    np.testing.assert_allclose(one.inputs["x"], two.inputs["x"])
    for name, copy in zip(parameters, copies, strict=True):
        np.testing.assert_allclose(one.parameters[name], two.parameters[name] + two.parameters[copy])


def test_a_node_may_share_with_other_attributes_as_long_as_the_shapes_agree() -> None:
    def network(other: network_pb2.Dense) -> GraphNetwork:
        return load(
            graph(
                [spec("x", (4, 3))],
                node("a", "x", dense=Dense(units=3)),
                node("b", "a", share="a", dense=other),
            )
        )

    assert list(names(network(Dense(units=3, without_bias=True)), x=X)) == ["a/kernel", "a/bias"]
    with pytest.raises(Problem, match="a/kernel") as caught:
        names(network(Dense(units=2)), x=X)
    assert caught.value.metadata["node"] == "b"


def test_an_embedding_can_be_tied_to_the_layer_that_undoes_it() -> None:
    network = load(
        graph(
            [spec("x", (2, 3), "int32")],
            node("embed", "x", embedding=Embedding(rows=5, features=3)),
            node("turned", "embed/table", transpose=network_pb2.Transpose()),
            node("logits", "embed turned", arithmetic=MATMUL),
        )
    )
    x = np.array([[0, 1, 1], [4, 2, 0]], np.int32)
    parameters, _ = draw(signature(network, {"x": x}), np.random.default_rng(4))
    assert list(parameters) == ["embed/table"]
    table = parameters["embed/table"]
    result = forward(network, parameters, {"x": x})
    np.testing.assert_allclose(result.outputs["logits"], table[x] @ table.T)
    as_output = np.ones((5, 1)) * table[x].sum((0, 1))
    as_input = np.bincount(x.ravel(), minlength=5)[:, None] * table.sum(0)
    np.testing.assert_allclose(result.parameters["embed/table"], as_output + as_input)


def test_a_parameter_can_be_referred_to_inside_a_repeated_block() -> None:
    tied = graph(
        free("h"), node("down", "h", dense=Dense(units=2, without_bias=True)),
        node("turned", "down/kernel", transpose=network_pb2.Transpose()),
        node("up", "down turned", arithmetic=MATMUL),
    )  # fmt: skip
    network = load(graph([spec("x", (4, 3))], node("b", "x", block=Block(body=tied, repeat=2))))
    parameters, _ = draw(signature(network, {"x": X}), np.random.default_rng(5))
    first, second = parameters["b/down/kernel"]
    found = run(network, parameters, {}, {"x": X}).outputs["b"]
    np.testing.assert_allclose(found, X @ first @ first.T @ second @ second.T)


def nested(levels: int) -> network_pb2.Graph:
    made = graph(free("x"), node("leaf", "x", dense=Dense(units=3)))
    for _ in range(levels):
        made = graph(free("x"), node("b", "x", block=Block(body=made)))
    made.inputs[0].CopyFrom(spec("x", (4, 3)))
    return made


def test_sixteen_blocks_may_nest_and_seventeen_may_not() -> None:
    network = load(nested(16))
    assert next(iter(names(network, x=X))) == "b/" * 16 + "leaf/kernel"
    parameters, _ = draw(signature(network, {"x": X}), np.random.default_rng(6))
    assert run(network, parameters, {}, {"x": X}).outputs["b"].shape == (4, 3)
    with pytest.raises(Problem) as caught:
        load(nested(17))
    assert caught.value.reason is Reason.TOO_DEEP


def lowered(repeat: int) -> int:
    network = load(graph([spec("x", (4, 3))], node("layers", "x", block=Block(body=body(), repeat=repeat))))
    parameters, _ = draw(signature(network, {"x": X}), np.random.default_rng(7))

    def loss(parameters: dict[str, jax.Array], x: jax.Array) -> jax.Array:
        return jnp.sum(network.apply(parameters, {}, {"x": x}, Context(jnp.float64))["layers"])

    text = jax.jit(jax.grad(loss)).lower(parameters, X).as_text()
    return sum(" = " in line for line in text.splitlines())


def test_a_hundred_layers_are_as_many_instructions_as_two() -> None:
    assert lowered(100) == lowered(2)


def test_layers_of_a_repeated_block_start_apart_and_like_single_ones() -> None:
    network = load(graph([spec("x", (4, 100))], node("layers", "x", block=Block(body=body(100), repeat=3))))
    kernel = signature(network, {"x": np.zeros((4, 100))}).parameters["layers/dense/kernel"]
    drawn = np.asarray(kernel.initializer.draw(0, kernel.name, kernel.shape, kernel.stacked, jnp.float64))
    assert not np.allclose(drawn[0], drawn[1])
    np.testing.assert_allclose(drawn.std((1, 2)), 0.1, rtol=0.05)

"""Programs in 16 bits, looked into: what is computed in them, and what in 32."""

from __future__ import annotations

import contextlib
import functools
import re
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import pytest
from jax.extend import core

from gradserve.v1 import loss_pb2, network_pb2
from gradserve_server.common.specs import (
    ArraySpec,
    Checkpointing,
    Limits,
    Mode,
    NetworkSource,
    Options,
    Precision,
    ProgramSpec,
)
from gradserve_server.compute import program
from gradserve_server.compute.frontends import graph as graphs
from gradserve_server.compute.frontends import onnx
from gradserve_server.compute.jaxprs import Equation, inner
from gradserve_server.compute.losses import load_loss
from gradserve_server.compute.lowering import Lowered, lower
from gradserve_server.compute.network import Network
from gradserve_server.compute.precision import SUMS_IN_32_BITS, is_half
from gradserve_server.compute.rewriting import rewritten
from tests.conformance.operations.graphs import free, graph, node, spec
from tests.unit.compute.onnx.models import model

Norm, Elementwise = network_pb2.Normalization, network_pb2.Elementwise
FUNCTIONS = network_pb2.Elementwise.Function.Value
HALF = {Precision.BFLOAT16: "bf16", Precision.FLOAT16: "f16"}
# What overflows or loses too much in 16 bits: none of the networks below has it elsewhere than in what is named so.
WIDE = {"exp", "log", "rsqrt", "sqrt", "reduce_sum", "square", "scatter-add", "cumsum", "reduce_window_sum"}


def kitchen() -> network_pb2.Graph:
    """Every kind of layer that has a rule of its own, some of them in a repeated block."""
    body = graph(
        free("h"),
        node("attention", "h", attention=network_pb2.Attention(heads=2, causal=True)),
        node("norm", "attention", normalization=Norm(kind=Norm.KIND_LAYER)),
        node("dense", "norm", dense=network_pb2.Dense(units=4)),
    )
    return graph(
        [spec("ids", ("batch", 6), "int32")],
        node("table", "ids", embedding=network_pb2.Embedding(rows=5, features=4)),
        node("block", "table", block=network_pb2.Block(body=body, repeat=2)),
        node("rms", "block", normalization=Norm(kind=Norm.KIND_RMS)),
        node("window", "rms", convolution=network_pb2.Convolution(filters=4, window=network_pb2.Window(size=[3]))),
        node("batch_norm", "window", normalization=Norm(kind=Norm.KIND_BATCH)),
        node("share", "batch_norm", elementwise=Elementwise(function=FUNCTIONS("FUNCTION_SOFTMAX"))),
        node("mean", "share", reduce=network_pb2.Reduce(function=network_pb2.Reduce.FUNCTION_MEAN, axes=[1])),
    )


TABLE, SQUARE, ONES = (f"{{{','.join(['1'] * size)}}}" for size in (20, 16, 4))
MODEL = f"""(int64[N,6] ids) => (float[N,4] y)
<float[5,4] table={TABLE}, float[4,4] w={SQUARE}, float[4] one={ONES}, int64[1] axes={{1}}>
{{
    e = Gather(table, ids)
    a = MatMul(e, w)
    b = LayerNormalization(a, one, one)
    c = Softmax(b)
    d = LpNormalization(c)
    y = ReduceMean<keepdims=0>(d, axes)
}}
"""


@functools.cache
def lowered(kind: str, precision: Precision) -> Lowered:
    network: Network
    if kind == "graph":
        content, integers = kitchen().SerializeToString(), "int32"
        network = graphs.load_network(content, Limits())
    else:
        content, integers = model(MODEL).encode(), "int64"
        network = onnx.load_network(content, Limits(), is_text=True)
    message = loss_pb2.Loss(softmax_cross_entropy=loss_pb2.Loss.SoftmaxCrossEntropy(target="y"))
    loss = load_loss(message.SerializeToString(), Limits())
    asked = ProgramSpec(
        kind="gradients",
        network=NetworkSource("graph", content),
        loss=message.SerializeToString(),
        batch=(ArraySpec("ids", integers, (3, 6)), ArraySpec("y", "int32", (3,))),
        weights=None if kind == "graph" else (),
        own_weights=kind == "onnx",
        options=Options(
            mode=Mode.TRAINING,
            checkpointing=Checkpointing.BLOCKS,
            precision=precision,
        ),
    )
    with contextlib.ExitStack() as settings:
        if kind == "onnx":
            # As the standard broadcasts.
            settings.enter_context(jax.numpy_rank_promotion("allow"))
            settings.enter_context(jax.numpy_dtype_promotion("standard"))
        return lower(program.build(asked, network, loss))


def equations(jaxpr: core.Jaxpr) -> Iterator[Equation]:
    for one in jaxpr.eqns:
        yield one
        for below in inner(one):
            yield from equations(below)


def dtypes(atoms: object) -> list[object]:
    return [getattr(one.aval, "dtype", None) for one in atoms]  # type: ignore[attr-defined]


@pytest.mark.parametrize("precision", HALF)
@pytest.mark.parametrize("kind", ["graph", "onnx"])
def test_products_take_16_bits_and_add_up_in_32(kind: str, precision: Precision) -> None:
    found = [
        one
        for one in equations(lowered(kind, precision).jaxpr)
        if one.primitive.name in {"dot_general", "conv_general_dilated"}
    ]
    # Forward, for the input's gradient, for the kernel's.
    assert len(found) >= 3
    for one in found:
        assert all(is_half(dtype) for dtype in dtypes(one.invars))
        assert dtypes(one.outvars) == [jnp.float32]


@pytest.mark.parametrize("precision", HALF)
def test_xla_is_given_products_of_16_bits_into_32(precision: Precision) -> None:
    name, form = HALF[precision], r"tensor<(?:\d+x)*(\w+)>"
    text = lowered("graph", precision).stages.as_text()
    for operation in ("stablehlo.dot_general", "stablehlo.convolution"):
        forms = re.findall(rf"{operation}.*: \({form}, {form}\) -> {form}", text)
        assert forms
        assert set(forms) == {(name, name, "f32")}


@pytest.mark.parametrize("precision", HALF)
@pytest.mark.parametrize("kind", ["graph", "onnx"])
def test_normalizations_softmax_losses_and_sums_are_computed_in_32_bits(kind: str, precision: Precision) -> None:
    found = [one for one in equations(lowered(kind, precision).jaxpr) if one.primitive.name in WIDE]
    assert {"exp", "reduce_sum", "rsqrt", "scatter-add"} <= {one.primitive.name for one in found}
    for one in found:
        assert not any(is_half(dtype) for dtype in dtypes(one.invars)), one


@pytest.mark.parametrize("kind", ["graph", "onnx"])
def test_gradients_loss_and_statistics_are_of_32_bits(kind: str) -> None:
    results = lowered(kind, Precision.BFLOAT16).found.results
    assert {one.array.dtype for one in results if one.group != "numbers"} == {"float32"}
    if kind == "graph":
        assert any(one.group == "updated_statistic" for one in results)


def test_a_sum_of_many_equal_numbers_does_not_stall() -> None:
    ones = jnp.ones(4096, jnp.bfloat16)
    places = jnp.zeros((4096, 1), jnp.int32)

    def sums(x: jax.Array) -> list[jax.Array]:
        picked = jnp.zeros(1, x.dtype).at[places[:, 0]].add(x)
        return [jax.lax.reduce(x, jnp.zeros((), x.dtype), jax.lax.add, (0,)), x @ x, jnp.cumsum(x)[-1], picked[0]]

    wide = jax.jit(rewritten(sums, [SUMS_IN_32_BITS]))(ones)
    assert [float(one) for one in wide] == [4096.0] * 4

"""Programs under each choice, compiled once: the same gradients, less memory; and what is described and taken."""

from __future__ import annotations

import functools
from collections.abc import Mapping

import numpy as np
import pytest
from msgspec import structs

from gradserve.v1 import loss_pb2, network_pb2
from gradserve_server.common.errors import Problem
from gradserve_server.common.specs import (
    ArraySpec,
    Checkpointing,
    DescribeSpec,
    Limits,
    NetworkSource,
    Options,
    Program,
    ProgramSpec,
    Selection,
)
from gradserve_server.compute.executor import Executor
from tests.conformance.operations.graphs import free, graph, node, spec

Block, Dense = network_pb2.Block, network_pb2.Dense
GELU = network_pb2.Elementwise(function=network_pb2.Elementwise.FUNCTION_GELU_TANH)
BATCH, WIDTH, LAYERS = 1024, 32, 16
LOSS = loss_pb2.Loss(squared_error=loss_pb2.Loss.SquaredError(target="y")).SerializeToString()
LEAN = (Checkpointing.PRODUCTS, Checkpointing.BLOCKS, Checkpointing.SQRT)
X = spec("x", ("batch", WIDTH), "float32")


def layer(name: str, source: str, units: int) -> list[network_pb2.Node]:
    return [node(f"{name}_dense", source, dense=Dense(units=units)), node(name, f"{name}_dense", elementwise=GELU)]


def repeated(body: network_pb2.Graph, turns: int) -> Block:
    return Block(body=body, repeat=turns)


def unrolled() -> network_pb2.Graph:
    """Layers of different widths, which no loop could hold."""
    nodes = []
    for number in range(LAYERS - 1):
        nodes += layer(f"layer{number}", f"layer{number - 1}" if number else "x", WIDTH - number % 3)
    return graph([X], *nodes, *layer("out", f"layer{LAYERS - 2}", WIDTH))


def scanned() -> network_pb2.Graph:
    return graph([X], node("out", "x", block=repeated(graph(free("h"), *layer("layer", "h", WIDTH)), LAYERS)))


def nested() -> network_pb2.Graph:
    inner = graph(free("h"), *layer("layer", "h", WIDTH))
    outer = graph(free("h"), *layer("first", "h", WIDTH), node("inner", "first", block=repeated(inner, LAYERS // 4)))
    return graph([X], node("out", "x", block=repeated(outer, 4)))


GRAPHS = {"unrolled": unrolled, "scanned": scanned, "nested": nested}
# What the peak may be at most of that without checkpointing, weights and gradients included.
MOST = {
    ("unrolled", Checkpointing.PRODUCTS): 0.7,
    ("unrolled", Checkpointing.BLOCKS): 0.7,
    ("unrolled", Checkpointing.SQRT): 0.5,
    ("scanned", Checkpointing.PRODUCTS): 0.7,
    ("scanned", Checkpointing.BLOCKS): 0.5,
    ("scanned", Checkpointing.SQRT): 0.35,
    ("nested", Checkpointing.PRODUCTS): 0.7,
    ("nested", Checkpointing.BLOCKS): 0.5,
    ("nested", Checkpointing.SQRT): 0.35,
}


@functools.cache
def asked(name: str) -> ProgramSpec:
    source = NetworkSource("graph", GRAPHS[name]().SerializeToString())
    batch = (ArraySpec("x", "float32", (BATCH, WIDTH)), ArraySpec("y", "float32", (BATCH, WIDTH)))
    return ProgramSpec(kind="gradients", network=source, loss=LOSS, batch=batch, weights=None)


@functools.cache
def executor() -> Executor:
    return Executor(Limits())


@functools.cache
def program(name: str, choice: Checkpointing) -> Program:
    return executor().prepare(structs.replace(asked(name), options=Options(checkpointing=choice)))


@functools.cache
def gradients(name: str, choice: Checkpointing) -> Mapping[str, np.ndarray]:
    generator = np.random.default_rng(0)
    arrays = [generator.normal(size=one.shape).astype(one.dtype) for one in asked(name).batch]
    known = program(name, choice)
    results, _ = executor().run(known.key, arrays, 1, 0)
    return {f"{one.group} {one.array.name}": value for one, value in zip(known.results, results, strict=True)}


@pytest.mark.parametrize(
    "choice", [pytest.param(one, marks=() if one is Checkpointing.SQRT else pytest.mark.long) for one in LEAN]
)
@pytest.mark.parametrize("name", GRAPHS)
def test_gradients_are_those_without_checkpointing(name: str, choice: Checkpointing) -> None:
    expected, found = gradients(name, Checkpointing.OFF), gradients(name, choice)
    assert found.keys() == expected.keys()
    assert any(np.any(value) for value in expected.values())
    for key, value in expected.items():
        scale = np.max(np.abs(value))
        np.testing.assert_allclose(found[key], value, rtol=1e-6, atol=1e-6 * scale, err_msg=key)


@pytest.mark.parametrize(("name", "choice"), MOST)
def test_the_peak_falls(name: str, choice: Checkpointing) -> None:
    peak, off = program(name, choice).peak_bytes, program(name, Checkpointing.OFF).peak_bytes
    assert peak <= MOST[name, choice] * off, f"{peak / off:.2f}"
    assert program(name, choice).checkpointing is choice


def test_the_peak_falls_with_the_number_of_parts_of_the_batch() -> None:
    def peak(parts: int) -> int:
        options = Options(checkpointing=Checkpointing.OFF, micro_batches=parts)
        return executor().prepare(structs.replace(asked("scanned"), options=options)).peak_bytes

    whole, four, sixteen = program("scanned", Checkpointing.OFF).peak_bytes, peak(4), peak(16)
    assert four < 0.5 * whole
    assert sixteen < 0.7 * four


def test_the_peak_of_a_hessian_product_falls_with_the_number_of_parts_too() -> None:
    def peak(parts: int) -> int:
        options = Options(checkpointing=Checkpointing.OFF, micro_batches=parts)
        spec = structs.replace(asked("scanned"), kind="hessian_product", options=options)
        return executor().prepare(spec).peak_bytes

    assert peak(8) < 0.4 * peak(1)


def description() -> dict[Checkpointing, tuple[int, bool]]:
    asked_for = asked("unrolled")
    found = executor().describe(DescribeSpec(asked_for.network, {"batch": BATCH}, LOSS, Selection(), Options()))
    return {plan.checkpointing: (plan.peak_bytes, plan.fits) for plan in found.memory}


def test_the_peak_of_each_choice_is_described() -> None:
    found = description()
    assert list(found) == [Checkpointing.OFF, *LEAN]
    assert all(fits for _, fits in found.values())
    for choice, (peak, _) in found.items():
        # Described with weights that are sent, run with weights that are drawn: the same but for what aligns them.
        assert peak == pytest.approx(program("unrolled", choice).peak_bytes, rel=0.02)


def test_with_a_budget_that_only_sqrt_fits_sqrt_is_taken_and_others_are_refused() -> None:
    sent = asked("scanned")
    total = sum(one.nbytes for one in sent.batch)
    results = sum(one.array.nbytes for one in program("scanned", Checkpointing.SQRT).results)
    peaks = {choice: program("scanned", choice).peak_bytes for choice in (Checkpointing.SQRT, Checkpointing.BLOCKS)}
    # The request, the block that it runs on, and the program.
    limit = 2 * total + results + (peaks[Checkpointing.SQRT] + peaks[Checkpointing.BLOCKS]) // 2
    small = Executor(structs.replace(Limits(), memory_bytes=limit))
    assert small.prepare(sent).checkpointing is Checkpointing.SQRT
    with pytest.raises(Problem) as caught:
        small.prepare(structs.replace(sent, options=Options(checkpointing=Checkpointing.BLOCKS)))
    assert caught.value.metadata["fits_with"] == "sqrt"
    tiny = Executor(structs.replace(Limits(), memory_bytes=2 * total + results + peaks[Checkpointing.SQRT] // 2))
    with pytest.raises(Problem) as caught:
        tiny.prepare(sent)
    assert caught.value.metadata["fits_with"] == ""

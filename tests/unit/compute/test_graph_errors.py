"""What is wrong with a graph is said with its place, its values and what would be right."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gradserve.v1 import network_pb2
from gradserve_server.common.errors import Problem, Reason
from gradserve_server.compute.network import Context
from tests.conformance.operations.graphs import free, graph, load, node, run, signature, spec

Block, Convolution, Dense, Elementwise = (
    network_pb2.Block,
    network_pb2.Convolution,
    network_pb2.Dense,
    network_pb2.Elementwise,
)
Normalization, Pooling, Reduce, Reshape = (
    network_pb2.Normalization,
    network_pb2.Pooling,
    network_pb2.Reduce,
    network_pb2.Reshape,
)
Concatenate, Gather, Range, Slice, Transpose, Window = (
    network_pb2.Concatenate,
    network_pb2.Gather,
    network_pb2.Range,
    network_pb2.Slice,
    network_pb2.Transpose,
    network_pb2.Window,
)
Cumulative, Einsum, Pad, Random, Rearrange, TopK = (
    network_pb2.Cumulative,
    network_pb2.Einsum,
    network_pb2.Pad,
    network_pb2.Random,
    network_pb2.Rearrange,
    network_pb2.TopK,
)
NAN = float("nan")
IMAGE, SEQUENCE = (2, 5, 4, 3), (2, 4, 6)
EQUATIONS = ["", "ab", "ab->a->b", "a,b->a", "a1->a", "...a...->a", "ab->c", "ab->aa", "...b->b", "a.b->a"]
PATTERNS = ["", "a b", "a -> a", "a b -> a", "a b -> a b c", "a b -> a (b", "a b -> a -> b", "a b ->" + " 1" * 600]


def convolution(groups: int = 0, transposed: bool = False, **fields: Any) -> dict[str, Any]:
    window = Window(**{"size": [2, 2], **fields})
    return {"convolution": Convolution(filters=4, groups=groups, transposed=transposed, window=window)}


def maximum(**fields: Any) -> dict[str, Any]:
    return {"pooling": Pooling(function=1, window=Window(**fields))}


def initialized(**fields: Any) -> dict[str, Any]:
    return {"dense": Dense(units=2, kernel_initializer=network_pb2.Initializer(**fields))}


def attention(**fields: Any) -> dict[str, Any]:
    return {"attention": network_pb2.Attention(**{"heads": 3, **fields})}


def recurrent(**fields: Any) -> dict[str, Any]:
    return {"recurrent": network_pb2.Recurrent(**{"cell": 2, "units": 2, **fields})}


# Operation on x of this shape, and the field that is at fault.
FAULTS: list[tuple[dict[str, Any], tuple[int, ...], str]] = [
    ({"dense": Dense()}, (2, 3), "dense.units"),
    ({"dense": Dense(units=-1)}, (2, 3), "dense.units"),
    ({"dense": Dense(units=1)}, (), "dense"),
    (initialized(normal=NAN), (2, 3), "initializer"),
    (initialized(uniform=-1.0), (2, 3), "initializer"),
    (initialized(variance_scaling=network_pb2.VarianceScaling(scale=0.0)), (2, 3), "kernel_initializer"),
    ({"convolution": Convolution(window=Window(size=[2, 2]))}, IMAGE, "convolution.filters"),
    ({"convolution": Convolution(filters=1)}, IMAGE, "window.size"),
    (convolution(size=[2]), IMAGE, "window.size"),
    (convolution(size=[2, 0]), IMAGE, "window.size"),
    (convolution(size=[6, 1]), IMAGE, "window.size"),
    (convolution(dilation=[1, 4]), IMAGE, "window.size"),
    (convolution(size=[2, 2], stride=[1, -1]), IMAGE, "window.stride"),
    (convolution(stride=[1, 1, 1]), IMAGE, "window.stride"),
    (convolution(dilation=[0, 1]), IMAGE, "window.dilation"),
    (convolution(size=[3, 2], dilation=[2**31 - 1, 1], padding=2), IMAGE, "window.dilation"),
    (convolution(size=[2**40, 2], padding=2), IMAGE, "window.size"),
    (convolution(groups=2), IMAGE, "groups"),
    (convolution(groups=-1), IMAGE, "groups"),
    (convolution(), (2, 3), "convolution"),
    (convolution(), (2, 3, 3, 3, 3, 3), "convolution"),
    ({"embedding": network_pb2.Embedding(rows=2, features=2)}, (2, 3), "embedding"),
    ({"normalization": Normalization()}, (2, 3), "kind"),
    ({"normalization": Normalization(kind=1, epsilon=-1.0)}, (2, 3), "epsilon"),
    ({"normalization": Normalization(kind=1, epsilon=NAN)}, (2, 3), "epsilon"),
    ({"normalization": Normalization(kind=1, groups=2)}, (2, 3), "groups"),
    ({"normalization": Normalization(kind=2, momentum=0.5)}, (2, 3), "momentum"),
    ({"normalization": Normalization(kind=3, groups=1, fixed_statistics=True)}, (2, 3), "fixed_statistics"),
    ({"normalization": Normalization(kind=3)}, (2, 3), "groups"),
    ({"normalization": Normalization(kind=3, groups=2)}, (2, 3), "groups"),
    ({"normalization": Normalization(kind=4, momentum=1.5)}, (2, 3), "momentum"),
    ({"normalization": Normalization(kind=4)}, (3,), "normalization"),
    ({"pooling": Pooling()}, IMAGE, "function"),
    (maximum(), IMAGE, "window.size"),
    (maximum(size=[2]), IMAGE, "window.size"),
    (maximum(size=[6, 1]), IMAGE, "window.size"),
    (maximum(size=[2, 2], stride=[0, 1]), IMAGE, "window.stride"),
    (maximum(size=[2, 2], dilation=[2, 2], padding=2), (1, 1, 3, 1), "window.dilation"),
    ({"pooling": Pooling(function=1)}, (2, 3), "pooling"),
    *(({"dropout": network_pb2.Dropout(rate=rate)}, (2, 3), "rate") for rate in (-0.1, 1.0, 2.0, NAN)),
    ({"reduce": Reduce(axes=[0])}, (2, 3), "function"),
    ({"reduce": Reduce(function=1, axes=[2])}, (2, 3), "axes"),
    ({"reduce": Reduce(function=1, axes=[-3])}, (2, 3), "axes"),
    ({"reduce": Reduce(function=1, axes=[0, -2])}, (2, 3), "axes"),
    ({"reshape": Reshape(shape=[4])}, (2, 3), "shape"),
    ({"reshape": Reshape(shape=[-1, -1])}, (2, 3), "shape"),
    ({"reshape": Reshape(shape=[-2, 3])}, (2, 3), "shape"),
    ({"reshape": Reshape(shape=[-1, 4])}, (2, 3), "shape"),
    ({"reshape": Reshape(shape=[2, 3, 0])}, (2, 3), "shape"),
    ({"reshape": Reshape(shape=[1] * 20)}, (1,), "shape"),
    ({"transpose": Transpose(axes=[0])}, (2, 3), "axes"),
    ({"transpose": Transpose(axes=[0, 0])}, (2, 3), "axes"),
    ({"transpose": Transpose(axes=[0, 2])}, (2, 3), "axes"),
    ({"slice": Slice()}, (2, 3), "axis"),
    ({"slice": Slice(axis=2)}, (2, 3), "axis"),
    ({"slice": Slice(axis=1, start=4)}, (2, 3), "start"),
    ({"slice": Slice(axis=1, start=-4)}, (2, 3), "start"),
    ({"slice": Slice(axis=1, stop=4)}, (2, 3), "stop"),
    ({"slice": Slice(axis=1, start=2, stop=2)}, (2, 3), "stop"),
    ({"slice": Slice(axis=1, step=-1)}, (2, 3), "step"),
    ({"cast": network_pb2.Cast()}, (2, 3), "data_type"),
    ({"range": Range()}, (2, 3), "range"),
    ({"range": Range(size=3)}, (2, 3), "size"),
    ({"range": Range(axis=2)}, (2, 3), "axis"),
    ({"elementwise": Elementwise()}, (2, 3), "function"),
    ({"elementwise": Elementwise(function=1, alpha=0.5)}, (2, 3), "alpha"),
    ({"elementwise": Elementwise(function=3, alpha=NAN)}, (2, 3), "alpha"),
    ({"elementwise": Elementwise(function=1, axis=0)}, (2, 3), "axis"),
    ({"elementwise": Elementwise(function=10, axis=2)}, (2, 3), "axis"),
    ({"elementwise": Elementwise(function=28)}, (2, 3), "elementwise"),
    ({"concatenate": Concatenate(axis=0)}, (2, 3), "inputs"),
    (attention(heads=0), SEQUENCE, "heads"),
    (attention(heads=4), SEQUENCE, "heads"),
    (attention(key_value_heads=2), SEQUENCE, "key_value_heads"),
    (attention(key_value_heads=-1), SEQUENCE, "key_value_heads"),
    (attention(head_size=-1), SEQUENCE, "head_size"),
    (attention(rotary_base=-1.0), SEQUENCE, "rotary_base"),
    (attention(rotary_base=NAN), SEQUENCE, "rotary_base"),
    (attention(rotary_base=10.0, head_size=5), SEQUENCE, "rotary_base"),
    (attention(mask="x"), SEQUENCE, "mask"),
    (attention(), (2, 3), "attention"),
    (recurrent(cell=0), SEQUENCE, "cell"),
    (recurrent(units=0), SEQUENCE, "units"),
    (recurrent(mask="x"), SEQUENCE, "mask"),
    (recurrent(), (2, 3), "recurrent"),
    *(({"einsum": Einsum(equation=equation)}, (2, 3), "equation") for equation in EQUATIONS),
    ({"einsum": Einsum(equation="abc->a")}, (2, 3), "einsum"),
    ({"einsum": Einsum(equation="a->a")}, (2, 3), "einsum"),
    ({"einsum": Einsum(equation="aa->a")}, (2, 3), "einsum"),
    *(({"rearrange": Rearrange(pattern=pattern)}, (2, 3), "pattern") for pattern in PATTERNS),
    *(
        ({"rearrange": Rearrange(pattern="a b -> a b c", sizes={name: size})}, (2, 3), field)
        for name, size, field in (("c", 0, "sizes"), ("c", 2**62, "sizes"), ("d", 2, "pattern"), ("tensor", 2, "sizes"))
    ),
    ({"rearrange": Rearrange(pattern="a (b c) -> a b c", sizes={"b": 2})}, (2, 3), "pattern"),
    ({"top_k": TopK()}, (2, 3), "k"),
    ({"top_k": TopK(k=4)}, (2, 3), "k"),
    ({"top_k": TopK(k=1)}, (), "top_k"),
    ({"random": Random(shape=[2])}, (2, 3), "distribution"),
    ({"random": Random(distribution=1, shape=[2])}, (2, 3), "shape"),
    ({"cumulative": Cumulative(axis=0)}, (2, 3), "function"),
    ({"cumulative": Cumulative(function=1)}, (2, 3), "axis"),
    ({"cumulative": Cumulative(function=1, axis=-3)}, (2, 3), "axis"),
    ({"pad": Pad(low=[1])}, (2, 3), "low"),
    ({"pad": Pad(high=[1, 1, 1])}, (2, 3), "high"),
    ({"pad": Pad(low=[-1, 0], high=[-1, 0])}, (2, 3), "low"),
    ({"pad": Pad(low=[1, 0], high=[-2, 0])}, (2, 3), "high"),
    ({"pad": Pad(value=NAN)}, (2, 3), "value"),
]


@pytest.mark.parametrize(
    ("operation", "shape", "field"),
    FAULTS,
    ids=[f"{index} {next(iter(fault[0]))} {fault[2]}" for index, fault in enumerate(FAULTS)],
)
def test_an_attribute_that_makes_no_sense_is_named(
    operation: dict[str, Any], shape: tuple[int, ...], field: str
) -> None:
    x = np.zeros(shape)
    with pytest.raises(Problem) as caught:
        signature(load(graph([spec("x", shape)], node("bad", "x", **operation))), {"x": x})
    assert caught.value.reason in {Reason.INVALID_NODE, Reason.MISSING_FIELD, Reason.INVALID_VALUE}
    assert caught.value.metadata["node"] == "bad"
    assert caught.value.metadata["field"].startswith("network.graph.nodes[0].")
    assert caught.value.metadata["field"].endswith(field)
    # Foreseen, and not by what JAX makes of it.
    assert "does not take this" not in str(caught.value)


def test_inputs_that_do_not_fit_each_other_are_named() -> None:
    specs = [spec("x", (2, 3)), spec("y", (4, 3)), spec("i", (5,), "int32"), spec("b", (2, 3), "bool")]
    inputs = {
        "x": np.zeros((2, 3)), "y": np.zeros((4, 3)), "i": np.zeros(5, np.int32), "b": np.zeros((2, 3), bool),
    }  # fmt: skip
    cases: list[tuple[str, dict[str, Any], str]] = [
        ("x y", {"concatenate": Concatenate(axis=1)}, "'y'"),
        ("x y", {"concatenate": Concatenate()}, "axis"),
        ("x i", {"gather": Gather(axis=0, aligned=True)}, "'i'"),
        ("x y", {"gather": Gather()}, "'y'"),
        ("x i", {"gather": Gather(axis=2)}, "axis"),
        ("x x y", {"select": network_pb2.Select()}, "'x'"),
        ("b x y", {"select": network_pb2.Select()}, "broadcast"),
        ("x y", {"compare": network_pb2.Compare(function=1)}, "broadcast"),
        ("x x", {"compare": network_pb2.Compare()}, "function"),
        ("b b", {"arithmetic": network_pb2.Arithmetic(function=1)}, "booleans"),
        ("b", {"reduce": Reduce(function=1)}, "booleans"),
        ("i", {"reduce": Reduce(function=2)}, "floating-point"),
    ]
    for names, operation, said in cases:
        with pytest.raises(Problem) as caught:
            signature(load(graph(specs, node("bad", names, **operation))), inputs)
        assert said in str(caught.value)
        assert caught.value.metadata["node"] == "bad"
        assert "does not take this" not in str(caught.value)


def test_masks_contexts_and_terms_that_do_not_fit_are_named() -> None:
    shapes = {"x": (2, 4, 6), "c": (2, 5, 6), "one": (1, 5, 6), "k": (2, 5), "qk": (2, 4, 5), "flat": (4,), "i": (2,)}
    inputs = {name: np.zeros(shape) for name, shape in shapes.items()}
    inputs["i"] = inputs["i"].astype(np.int32)
    inputs["b"] = np.zeros((2, 4), bool)
    specs = [spec(name, value.shape, value.dtype) for name, value in inputs.items()]
    cases: list[tuple[str, dict[str, Any], str]] = [
        ("x k", attention(mask="k"), "'k'"),
        ("x qk", attention(mask="qk"), "[2, 4, 4]"),
        ("x c qk", attention(mask="k"), "mask"),
        ("x k", attention(mask="c"), "'k'"),
        ("x flat", attention(mask="flat"), "'flat'"),
        ("x c x", attention(), "mask"),
        ("x one", attention(), "examples"),
        ("x k", attention(), "'k'"),
        ("i", attention(), "floating-point"),
        ("x k", recurrent(mask="k"), "'k'"),
        ("x qk", recurrent(mask="qk"), "'qk'"),
        ("x k", recurrent(), "mask"),
        ("x c", {"einsum": Einsum(equation="abc,abc->a")}, "'b' is 5 here and 4 before"),
        ("x c", {"einsum": Einsum(equation="...c,...c->...")}, "'...' is 5 here and 4 before"),
        ("x", {"einsum": Einsum(equation="abc,abc->a")}, "2 terms"),
        ("b", {"einsum": Einsum(equation="ab->a")}, "booleans"),
        ("b", {"cumulative": Cumulative(function=1, axis=0)}, "booleans"),
        ("b", {"top_k": TopK(k=1)}, "booleans"),
        ("b", {"pad": Pad(value=2.0)}, "bool"),
        ("i", {"pad": Pad(value=0.5)}, "int32"),
        ("i", {"pad": Pad(value=2.0**31)}, "int32"),
        ("", {"random": Random(distribution=1, shape=[0])}, "at least 1"),
        ("", {"random": Random(distribution=1, shape=[1] * 17)}, "not a shape"),
    ]
    for names, operation, said in cases:
        with pytest.raises(Problem) as caught:
            signature(load(graph(specs, node("bad", names, **operation))), inputs)
        assert said in str(caught.value)
        assert caught.value.reason is Reason.INVALID_NODE
        assert caught.value.metadata["node"] == "bad"
        assert "does not take this" not in str(caught.value)


def test_results_that_no_memory_holds_are_refused_before_they_are_made() -> None:
    x = np.zeros((2, 3))
    for operation in (
        {"pad": Pad(low=[2**62, 0], high=[2**62, 0])},
        {"rearrange": Rearrange(pattern="a b -> a b c d", sizes={"c": 2**30, "d": 2**30})},
        {"random": Random(distribution=1, shape=[2**62, 2**62])},
    ):
        inputs = () if "random" in operation else "x"
        with pytest.raises(Problem) as caught:
            signature(load(graph([spec("x", x.shape)], node("bad", inputs, **operation))), {"x": x})
        assert caught.value.reason is Reason.TOO_LARGE
        assert caught.value.metadata["node"] == "bad"


def test_a_misspelt_reference_gives_the_name_that_is_near() -> None:
    message = graph(
        [spec("x", (2, 3))], node("hidden", "x", dense=Dense(units=2)), node("out", "hiden", dense=Dense(units=2))
    )
    with pytest.raises(Problem, match="hidden") as caught:
        load(message)
    assert caught.value.reason is Reason.UNKNOWN_REFERENCE
    assert caught.value.metadata["field"] == "network.graph.nodes[1].inputs[0]"
    assert caught.value.metadata["node"] == "out"
    assert "hidden" in caught.value.metadata["hint"]


def test_a_misspelt_parameter_is_refused_once_the_parameters_are_known() -> None:
    network = load(
        graph(
            [spec("x", (2, 3))],
            node("hidden", "x", dense=Dense(units=2)),
            node("out", "hidden/kernal", transpose=Transpose()),
        )
    )
    with pytest.raises(Problem) as caught:
        signature(network, {"x": np.zeros((2, 3))})
    assert caught.value.reason is Reason.UNKNOWN_REFERENCE
    assert caught.value.metadata["given"] == "'hidden/kernal'"


def test_a_node_deep_in_blocks_is_named_with_its_path_and_its_field() -> None:
    inner = graph(free("h"), node("fine", "h", dense=Dense(units=3)), node("bad", "fine", dense=Dense()))
    outer = graph(free("h"), node("layers", "h", block=Block(body=inner, repeat=2)))
    network = load(graph([spec("x", (2, 3))], node("tower", "x", block=Block(body=outer))))
    with pytest.raises(Problem) as caught:
        signature(network, {"x": np.zeros((2, 3))})
    assert caught.value.metadata["node"] == "tower/layers/bad"
    place = "network.graph.nodes[0].block.body.nodes[0].block.body.nodes[1].dense.units"
    assert caught.value.metadata["field"] == place


def test_a_repeated_block_that_does_not_return_what_it_takes_is_refused() -> None:
    inner = graph(free("h"), node("wider", "h", dense=Dense(units=4)))
    network = load(graph([spec("x", (2, 3))], node("layers", "x", block=Block(body=inner, repeat=2))))
    with pytest.raises(Problem) as caught:
        signature(network, {"x": np.zeros((2, 3))})
    assert caught.value.metadata["node"] == "layers"
    assert "[2, 4]" in caught.value.metadata["given"]


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "int64"])
def test_an_index_out_of_range_is_checked_where_it_came_with_the_batch(dtype: str) -> None:
    network = load(
        graph(
            [spec("x", (3,), dtype)],
            node("moved", "x", reshape=Reshape(shape=[3, 1])),
            node("rows", "moved", embedding=network_pb2.Embedding(rows=100, features=2)),
        )
    )
    table = {"rows/table": np.ones((100, 2))}
    for indices, failed in (([0, 99, 5], False), ([0, 100, 5], True), ([-1, 0, 0], True)):
        if dtype == "uint8" and indices[0] < 0:
            continue
        context = Context(np.float64)
        network.apply(table, {}, {"x": np.array(indices, dtype)}, context)  # type: ignore[arg-type, dict-item]
        assert [bool(check.failed) for check in context.checks] == [failed]


def test_an_index_that_was_computed_is_clamped() -> None:
    network = load(
        graph(
            [spec("x", (3,), "int32")],
            node("twice", "x x", arithmetic=network_pb2.Arithmetic(function=1)),
            node("rows", "twice", embedding=network_pb2.Embedding(rows=4, features=1)),
        )
    )
    table = {"rows/table": np.arange(4.0).reshape(4, 1)}
    found = run(network, table, {}, {"x": np.array([-3, 1, 9], np.int32)}).outputs["rows"]
    np.testing.assert_array_equal(found[:, 0], [0, 2, 3])

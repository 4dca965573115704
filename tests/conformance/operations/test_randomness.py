"""Random numbers: their distributions, and what they depend on."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from gradserve.v1 import network_pb2
from gradserve_server.common.specs import Limits
from gradserve_server.compute.frontends.graph.custom import CustomGraph
from gradserve_server.compute.network import Context
from tests.conformance.operations.graphs import free, graph, load, node, run, signature, spec

Random = network_pb2.Random
NORMAL = Random(distribution=Random.DISTRIBUTION_NORMAL)
_erf = np.vectorize(math.erf)

CUMULATIVE: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "NORMAL": lambda x: (1 + _erf(x / math.sqrt(2))) / 2,
    "UNIFORM": lambda x: np.clip(x, 0, 1),
    "GUMBEL": lambda x: np.exp(-np.exp(-x)),
}
CASES = [
    Random(distribution=Random.Distribution.Value(f"DISTRIBUTION_{name}"), shape=[100, 500]) for name in CUMULATIVE
]


def test_every_distribution_of_the_contract_is_held_against_its_own() -> None:
    assert {f"DISTRIBUTION_{name}" for name in CUMULATIVE} == set(Random.Distribution.keys()[1:])


@pytest.mark.parametrize(("name", "message"), [*zip(CUMULATIVE, CASES, strict=True)], ids=CUMULATIVE)
@pytest.mark.parametrize("training", [False, True])
def test_numbers_are_distributed_as_named_in_any_mode(name: str, message: Random, training: bool) -> None:
    network = load(graph([], node("r", random=message)))
    assert signature(network, {}).mode_matters == ""
    found = run(network, {}, {}, {}, training=training).outputs["r"]
    assert (found.shape, found.dtype) == ((100, 500), np.float64)
    ordered = np.sort(found, axis=None)
    # Kolmogorov and Smirnov: more than this once in ten million draws.
    distance = np.max(np.abs(CUMULATIVE[name](ordered) - (np.arange(ordered.size) + 0.5) / ordered.size))
    assert distance < 2.9 / math.sqrt(ordered.size)
    if name == "UNIFORM":
        assert ordered[0] >= 0
        assert ordered[-1] < 1


def test_numbers_have_the_shape_of_the_input_and_no_gradient() -> None:
    x, i = np.ones((3, 4)), np.ones((2,), np.int8)
    network = load(
        graph(
            [spec("x", x.shape), spec("i", i.shape, i.dtype)],
            node("like_x", "x", random=NORMAL),
            node("like_i", "i", random=NORMAL),
            node("scalar", random=NORMAL),
            outputs=["like_x", "like_i", "scalar"],
        )
    )
    cotangents = {"like_x": np.ones((3, 4)), "like_i": np.ones(2), "scalar": np.ones(())}
    result = run(network, {}, {}, {"x": x, "i": i}, cotangents=cotangents)
    assert {name: (one.shape, one.dtype) for name, one in result.outputs.items()} == {
        name: (one.shape, np.float64) for name, one in cotangents.items()
    }
    np.testing.assert_array_equal(result.inputs["x"], np.zeros((3, 4)))


def test_the_seed_the_path_and_the_turn_decide_and_nothing_else() -> None:
    inner = graph(
        free("h"), node("a", "h", random=NORMAL),
        node("same", "h", elementwise=network_pb2.Elementwise(function="FUNCTION_NEGATE")),  # type: ignore[arg-type]
        outputs=["same", "a"],
    )  # fmt: skip
    message = graph(
        [spec("x", (4,))],
        node("a", "x", random=NORMAL),
        node("b", "x", random=NORMAL),
        node("c", "x", share="a"),
        node("layers", "x", block=network_pb2.Block(body=inner, repeat=3)),
        node("turns", "layers/a", reshape=network_pb2.Reshape(shape=[3, 4])),
        node("once", "x", block=network_pb2.Block(body=inner)),
        node("inside", "once/a", reshape=network_pb2.Reshape(shape=[4])),
        outputs=["a", "b", "c", "turns", "inside"],
    )
    network = load(message)

    def draws(seed: int, training: bool = False, x: float = 1.0) -> list[bytes]:
        outputs = run(network, {}, {}, {"x": np.full(4, x)}, seed=seed, training=training).outputs
        rows = [outputs["a"], outputs["b"], outputs["c"], *outputs["turns"], outputs["inside"]]
        return [row.tobytes() for row in rows]

    first, other = draws(1), draws(2)
    assert first == draws(1, training=True, x=-3.0)
    assert len({*first, *other}) == 14
    del message.nodes[1:3]
    message.outputs[:] = ["a"]
    assert run(load(message), {}, {}, {"x": np.ones(4)}, seed=1).outputs["a"].tobytes() == first[0]


def test_a_loss_draws_other_numbers_than_a_node_of_the_network_with_the_same_name() -> None:
    import jax

    network = load(graph([spec("x", (4,))], node("random_1", "x", random=NORMAL)))
    content = graph(free("x"), node("random_1", "x", random=NORMAL)).SerializeToString()
    context = Context(np.float64, key=jax.random.key(0))
    x = {"x": np.ones(4)}
    drawn = [np.asarray(network.apply({}, {}, x, context)["random_1"]).tobytes()]  # type: ignore[arg-type]
    for field in ("loss.custom.graph", "loss.sum.terms[1].loss.custom.graph"):
        loss = CustomGraph.load(content, Limits(), field)
        for _ in range(2):
            values = loss.apply({}, x, {}, context)  # type: ignore[arg-type]
            drawn.append(np.asarray(jax.tree.leaves(values)[0]).tobytes())
    assert len(set(drawn)) == 3

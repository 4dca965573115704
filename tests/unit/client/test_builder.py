"""The graph builder writes the graph that was meant, and refuses what cannot be one."""

import numpy as np
import pytest

import gradserve as gs
from gradserve.v1 import network_pb2

Arithmetic = network_pb2.Arithmetic


def nodes(network):
    return {node.name: node for node in network.graph.nodes}


def test_the_worked_example():
    graph = gs.GraphBuilder("worked example")
    x = graph.input("x", "batch")
    w1, b1 = (graph.parameter(name, initializer=gs.normal(0.1)) for name in ("w1", "b1"))
    h1 = graph.add(gs.relu(), w1 * x + b1, name="h1")
    net = graph.build([h1])
    assert [node.name for node in net.graph.nodes] == ["w1", "b1", "multiply_1", "add_1", "h1"]
    assert list(nodes(net)["multiply_1"].inputs) == ["w1", "x"]
    assert nodes(net)["w1"].parameter.initializer.normal == 0.1
    assert list(nodes(net)["w1"].parameter.shape) == []
    assert net.outputs == ("h1",)
    assert net.name == "worked example"


@pytest.mark.parametrize(
    ("combine", "function", "inputs"),
    [
        (lambda a, b: a + b, "ADD", ["a", "b"]),
        (lambda a, b: a - b, "SUBTRACT", ["a", "b"]),
        (lambda a, b: a * b, "MULTIPLY", ["a", "b"]),
        (lambda a, b: a / b, "DIVIDE", ["a", "b"]),
        (lambda a, b: a**b, "POWER", ["a", "b"]),
        (lambda a, b: a @ b, "MATMUL", ["a", "b"]),
        (lambda a, b: 2 + a, "ADD", ["constant_1", "a"]),
        (lambda a, b: 2 - a, "SUBTRACT", ["constant_1", "a"]),
        (lambda a, b: 2 * a, "MULTIPLY", ["constant_1", "a"]),
        (lambda a, b: 2 / a, "DIVIDE", ["constant_1", "a"]),
        (lambda a, b: 2**a, "POWER", ["constant_1", "a"]),
        (lambda a, b: a**2, "POWER", ["a", "constant_1"]),
        (lambda a, b: np.eye(2) @ a, "MATMUL", ["constant_1", "a"]),
        (lambda a, b: np.float32(2) * a, "MULTIPLY", ["constant_1", "a"]),
    ],
)
def test_operators_write_arithmetic_in_the_order_written(combine, function, inputs):
    graph = gs.GraphBuilder()
    a, b = graph.input("a", 2, 2), graph.input("b", 2, 2)
    node = graph.build([combine(a, b)]).graph.nodes[-1]
    assert Arithmetic.Function.Name(node.arithmetic.function) == f"FUNCTION_{function}"
    assert list(node.inputs) == inputs
    assert node.name == f"{function.lower()}_1"


def test_negation_maximum_minimum_and_concatenation():
    graph = gs.GraphBuilder()
    a, b = graph.input("a", 2), graph.input("b", 2)
    net = graph.build([-a, graph.maximum(a, b, 0), graph.minimum(a, b), graph.concatenate([a, b], axis=0)])
    assert net.outputs == ("negate_1", "maximum_1", "minimum_1", "concatenate_1")
    assert list(nodes(net)["maximum_1"].inputs) == ["a", "b", "constant_1"]
    assert nodes(net)["concatenate_1"].concatenate.axis == 0
    assert nodes(net)["concatenate_1"].concatenate.HasField("axis")


def test_numbers_take_the_type_of_what_they_meet_and_arrays_keep_their_own():
    graph = gs.GraphBuilder()
    number, array = graph.constant(3), graph.constant(np.ones((2, 3)), name="ones")
    built = nodes(graph.build([number, array]))
    assert built["constant_1"].constant.number == 3.0
    assert built["ones"].constant.value.data == np.ones((2, 3)).tobytes()
    assert built["ones"].constant.value.data_type == 13
    assert nodes(graph.build())["ones"].constant.WhichOneof("content") == "value"


def test_references_to_parameters_and_outputs():
    graph = gs.GraphBuilder()
    tokens = graph.input("tokens", "batch", dtype="int32")
    embedded = graph.add(gs.embedding(10, 4), tokens, name="table")
    body = gs.GraphBuilder("body")
    y = body.input("y")
    first, second = body.add(gs.dense(4), y), body.add(gs.relu(), y)
    block = graph.block(body.build([first, second]), embedded, repeat=2, name="layers")
    tied = graph.arithmetic("matmul", block, graph.parameter_of(embedded, "table"))
    other = graph.add(gs.negate(), graph.output_of(block, "relu_1"))
    built = nodes(graph.build([tied, other]))
    assert list(built["matmul_1"].inputs) == ["layers", "table/table"]
    assert list(built["negate_1"].inputs) == ["layers/relu_1"]
    assert built["layers"].block.repeat == 2


def test_sharing_uses_a_node_again():
    graph = gs.GraphBuilder()
    left, right = graph.input("left", "n", 3), graph.input("right", "n", 3)
    tower = graph.add(gs.dense(4), left, name="tower")
    again = graph.share(tower, right)
    built = nodes(graph.build([tower - again]))
    node = built["tower_shared_1"]
    assert (node.share, list(node.inputs)) == ("tower", ["right"])
    assert node.WhichOneof("operation") is None


def test_a_network_applied_to_values_is_a_block():
    graph = gs.GraphBuilder()
    x = graph.input("x", "n", 3)
    value = graph.add(gs.sequential(gs.dense(4)), x, name="tower")
    assert nodes(graph.build([value]))["tower"].block.body.nodes[0].name == "dense_1"


def test_the_builder_goes_on_after_building():
    graph = gs.GraphBuilder()
    x = graph.input("x", "n", 3)
    first = graph.build([graph.add(gs.relu(), x)])
    second = graph.build([graph.add(gs.tanh(), x)])
    assert len(first.graph.nodes) == 1
    assert len(second.graph.nodes) == 2


def refused():
    """Rows: what is wrong, a function that does it, a part of the message."""

    def with_graph(action):
        def run():
            graph = gs.GraphBuilder()
            return action(graph, graph.input("x", "n", 3))

        return run

    stranger = gs.GraphBuilder().input("z", 1)
    body = gs.sequential(gs.dense(1))
    return {
        "duplicate input": (with_graph(lambda g, x: g.input("x", 1)), "taken"),
        "duplicate node": (with_graph(lambda g, x: g.add(gs.relu(), x, name="x")), "taken"),
        "empty name": (with_graph(lambda g, x: g.input("", 1)), "no name"),
        "slash": (with_graph(lambda g, x: g.add(gs.relu(), x, name="a/b")), "no name"),
        "umlaut": (with_graph(lambda g, x: g.parameter("größe")), "no name"),
        "not a string": (with_graph(lambda g, x: g.parameter(3)), "no name"),
        "another builder": (with_graph(lambda g, x: g.add(gs.relu(), stranger)), "another builder"),
        "another builder's output": (with_graph(lambda g, x: g.build([stranger])), "no nodes"),
        "a name, not a value": (with_graph(lambda g, x: g.add(gs.relu(), "x")), "Did you mean"),
        "no layer": (with_graph(lambda g, x: g.add(gs.relu, x)), "no layer"),
        "no network": (with_graph(lambda g, x: g.block(gs.relu(), x)), "no network"),
        "no nodes": (with_graph(lambda g, x: g.build()), "no nodes"),
        "wrong inputs": (with_graph(lambda g, x: g.block(body, x, x)), "given 2, expected 1"),
        "no repeats": (with_graph(lambda g, x: g.block(body, x, repeat=0)), "block.repeat"),
        "nothing to share": (
            with_graph(lambda g, x: g.block(body, x, share_parameters=True)),
            "Set repeat",
        ),
        "input as output": (
            with_graph(lambda g, x: (g.add(gs.relu(), x), g.build([x]))),
            "only a node",
        ),
        "parameter of an input": (with_graph(lambda g, x: g.parameter_of(x, "k")), "only a node"),
        "no parameter": (with_graph(lambda g, x: g.parameter_of(x + 1, "")), "no name"),
        "negative size": (with_graph(lambda g, x: g.parameter("w", (-1,))), "parameter.shape"),
        "no function": (with_graph(lambda g, x: g.arithmetic("modulo", x, 2)), "no such function"),
        "complex constant": (with_graph(lambda g, x: x * 1j), "do not travel"),
        "a layer as a value": (with_graph(lambda g, x: x + gs.relu()), "no value"),
        "share of a name": (with_graph(lambda g, x: g.share("x", x)), "no value"),
    }


@pytest.mark.parametrize("case", refused())
def test_graphs_that_make_no_sense_are_refused_at_once(case):
    action, message = refused()[case]
    with pytest.raises(gs.InvalidRequest, match=message):
        action()


def test_values_name_themselves():
    assert repr(gs.GraphBuilder().input("x", 1)) == "Value('x')"


def test_the_last_input_of_a_masked_layer_is_named_as_its_mask():
    graph = gs.GraphBuilder()
    x, other, mask = graph.input("x", 2, 3, 4), graph.input("other", 2, 3, 4), graph.input("mask", 2, 3)
    attended = graph.add(gs.attention(2, masked=True), x, other, mask, name="attended")
    read = graph.add(gs.lstm(4, masked=True), attended, mask, name="read")
    hidden = graph.add(gs.logical_not(), mask, name="hidden")
    graph.share(read, read, hidden, name="again")
    graph.add(gs.attention(2), x, other, name="bare")
    found = nodes(graph.build())
    assert (list(found["attended"].inputs), found["attended"].attention.mask) == (["x", "other", "mask"], "mask")
    assert (list(found["read"].inputs), found["read"].recurrent.mask) == (["attended", "mask"], "mask")
    assert (found["again"].share, found["again"].recurrent.units, found["again"].recurrent.mask) == (
        "read",
        4,
        "hidden",
    )
    assert found["bare"].attention.mask == ""


def test_a_masked_layer_without_a_mask_is_refused():
    with pytest.raises(gs.InvalidRequest, match="mask") as caught:
        gs.sequential(gs.attention(2, masked=True), x=("batch", 3, 4))
    assert caught.value.field == "attention.mask"


def test_a_tangent_names_its_block_and_takes_numbers_as_directions():
    body = gs.sequential(gs.dense(3), gs.tanh())
    graph = gs.GraphBuilder()
    x = graph.input("x", "batch", 1)
    u = graph.block(body, x, name="u")
    graph.tangent(u, 1.0)
    found = nodes(graph.build())["tangent_1"]
    assert (found.tangent.of, list(found.inputs)) == ("u", ["constant_1"])

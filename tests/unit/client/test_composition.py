"""Layers in a row, and rows as layers."""

import pytest

import gradserve as gs


def names(network):
    return [node.name for node in network.graph.nodes]


def test_nodes_are_named_by_kind_and_counted():
    net = gs.sequential(gs.dense(8), gs.relu(), gs.dense(8), gs.relu(), gs.softmax(), x=("n", 4))
    assert names(net) == ["dense_1", "relu_1", "dense_2", "relu_2", "softmax_1"]


def test_each_layer_takes_what_the_one_before_it_gives():
    graph = gs.sequential(gs.dense(8), gs.relu(), gs.dense(2), x=("n", 4)).graph
    assert [list(node.inputs) for node in graph.nodes] == [["x"], ["dense_1"], ["relu_1"]]
    assert list(graph.outputs) == []


def test_own_names_are_kept_and_counting_goes_around_them():
    net = gs.sequential(gs.dense(8, name="dense_1"), gs.dense(8), gs.dense(2), x=("n", 4))
    assert names(net) == ["dense_1", "dense_2", "dense_3"]


def test_the_same_layer_twice_is_two_nodes():
    layer = gs.dense(4)
    assert names(gs.sequential(layer, layer, x=("n", 4))) == ["dense_1", "dense_2"]


def test_a_network_in_a_row_is_a_block():
    inner = gs.sequential(gs.dense(4), gs.relu(), image=("n", 4))
    graph = gs.sequential(inner, gs.dense(2), x=("n", 4)).graph
    assert [node.name for node in graph.nodes] == ["block_1", "dense_1"]
    body = graph.nodes[0].block.body
    # Types and shapes are inferred inside.
    assert [(one.name, one.data_type, len(one.shape)) for one in body.inputs] == [("image", 0, 0)]
    assert not graph.nodes[0].block.HasField("repeat")


@pytest.mark.parametrize("repeated", [gs.dense(4), [gs.dense(4)], gs.sequential(gs.dense(4)), (gs.dense(4),)])
def test_a_layer_a_list_and_a_network_repeat_alike(repeated):
    graph = gs.sequential(gs.repeat(repeated, 3, name="layers"), x=("n", 4)).graph
    node = graph.nodes[0]
    assert (node.name, node.block.repeat, node.block.share_parameters) == ("layers", 3, False)
    assert [one.name for one in node.block.body.nodes] == ["dense_1"]


def test_repeats_can_share_their_parameters():
    graph = gs.sequential(gs.repeat(gs.dense(4), 3, share_parameters=True), x=("n", 4)).graph
    assert graph.nodes[0].block.share_parameters


def test_a_residual_adds_its_input():
    graph = gs.sequential(gs.residual(gs.dense(4), gs.relu()), x=("n", 4)).graph
    body = graph.nodes[0].block.body
    assert graph.nodes[0].name == "residual_1"
    assert list(body.outputs) == ["add_1"]
    assert list(body.nodes[-1].inputs) == ["x", "relu_1"]
    assert not graph.nodes[0].block.HasField("repeat")


def test_a_row_without_an_input_infers_it():
    (one,) = gs.sequential(gs.dense(4)).inputs
    assert (one.name, one.dtype, one.shape) == ("x", None, ())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: gs.sequential(x=("n", 4)), "no layers"),
        (lambda: gs.sequential(gs.dense(1), x=("n",), y=("n",)), "GraphBuilder"),
        (lambda: gs.sequential(gs.dense, x=("n", 4)), "no layer"),
        (lambda: gs.sequential("dense", x=("n", 4)), "no layer"),
        (lambda: gs.sequential(gs.relu(name="a"), gs.relu(name="a"), x=("n",)), "taken"),
        (lambda: gs.sequential(gs.relu(name="a b"), x=("n",)), "no name"),
        (lambda: gs.sequential(gs.relu(name="x"), x=("n",)), "taken"),
        (lambda: gs.repeat(gs.dense(4), 0), "block.repeat"),
        (lambda: gs.repeat([], 2), "no layers"),
        (gs.residual, "no layers"),
    ],
)
def test_rows_that_make_no_sense_are_refused(make, message):
    with pytest.raises(gs.InvalidRequest, match=message):
        make()


def test_a_block_with_two_inputs_does_not_fit_a_row():
    graph = gs.GraphBuilder()
    inner = graph.build([graph.input("a", 1) + graph.input("b", 1)])
    with pytest.raises(gs.InvalidRequest, match=r"given 1, expected 2 \(a, b\)"):
        gs.sequential(inner, x=("n", 1))

"""Networks are values."""

import pickle

import numpy as np
import pytest

import gradserve as gs


def network(units=3):
    return gs.sequential(gs.dense(units), gs.relu(), name="net", x=("batch", 4))


def test_equal_definitions_are_equal_networks():
    assert network() == network()
    assert hash(network()) == hash(network())
    assert network() != network(4)
    assert network() != "net"
    assert network().to_bytes() == network().to_bytes()
    assert pickle.loads(pickle.dumps(network())) == network()


def test_the_message_is_a_copy():
    net = network()
    net.graph.nodes.pop()
    assert net == network()


def test_a_network_knows_its_inputs_and_outputs():
    net = network()
    assert net.name == "net"
    assert net.inputs == (gs.TensorInfo("x", np.dtype("float32"), ("batch", 4)),)
    assert net.outputs == ("relu_1",)
    assert repr(net) == "Network('net': x: float32[batch, 4] -> relu_1)"


def test_inputs_of_other_types():
    net = gs.sequential(gs.flatten(), image=gs.spec("batch", 8, 8, 1, dtype=np.uint8))
    (image,) = net.inputs
    assert (image.name, image.dtype, image.shape) == ("image", np.uint8, ("batch", 8, 8, 1))
    assert str(image) == "image: uint8[batch, 8, 8, 1]"


@pytest.mark.parametrize("size", [0, -1, 1.5, "", None, True])
def test_what_is_no_size_is_refused(size):
    with pytest.raises(gs.InvalidRequest, match="no size"):
        gs.spec("batch", size)


@pytest.mark.parametrize("shape", ["batch", 4, None])
def test_what_is_no_shape_is_refused(shape):
    with pytest.raises(gs.InvalidRequest, match=r'x: .*\("batch", 64\)'):
        gs.sequential(gs.dense(1), x=shape)

"""Networks, losses and weights as files."""

import json

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import gradserve as gs
from gradserve.weights import from_safetensors, to_safetensors
from tests.unit.client.test_tensors import arrays, same_bits


def network():
    graph = gs.GraphBuilder("a network")
    x = graph.input("x", "batch", 3)
    scaled = x * np.linspace(0, 1, 3, dtype=np.float32)
    return graph.build([graph.add(gs.repeat(gs.dense(3), 2), scaled)])


@pytest.mark.parametrize("ending", [".json", ".binpb", ".pb"])
def test_networks_and_losses_survive_the_round_trip(tmp_path, ending):
    path, loss = tmp_path / f"net{ending}", gs.softmax_cross_entropy("y", label_smoothing=0.1)
    gs.save(network(), path)
    assert gs.load(path) == network()
    assert gs.load(str(path)) == network()
    gs.save(loss, path)
    assert gs.load_loss(path) == loss


def test_json_is_the_contract_s_own(tmp_path):
    gs.save(network(), tmp_path / "net.json")
    content = json.loads((tmp_path / "net.json").read_text())
    assert content["inputs"][0]["dataType"] == "DATA_TYPE_FLOAT32"
    assert content["nodes"][-1]["block"]["repeat"] == "2"


def test_a_network_written_by_hand_is_read(tmp_path):
    path = tmp_path / "net.json"
    path.write_text(
        '{"inputs": [{"name": "x", "data_type": "DATA_TYPE_FLOAT32",'
        ' "shape": [{"symbol": "batch"}, {"size": 4}]}],'
        ' "nodes": [{"name": "dense_1", "inputs": ["x"], "dense": {"units": 2}}]}'
    )
    assert gs.load(path) == gs.sequential(gs.dense(2), x=("batch", 4))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("net.txt", b""),
        ("net", b""),
        ("net.json", b"{"),
        ("net.json", b'{"layers": []}'),
        ("net.json", b"\xff\xfe"),
        ("net.binpb", b"\xff\xff"),
    ],
)
def test_what_is_no_network_is_refused_by_its_path(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(gs.InvalidRequest, match=name):
        gs.load(path)


def test_a_file_that_is_not_there_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        gs.load(tmp_path / "net.json")
    with pytest.raises(FileNotFoundError):
        gs.load_weights(tmp_path / "w.safetensors")


@given(st.dictionaries(st.text("abc/_1", min_size=1), arrays(), max_size=4))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_weights_survive_the_round_trip_bit_by_bit(tmp_path, weights):
    gs.save_weights(weights, tmp_path / "w.safetensors")
    back = gs.load_weights(tmp_path / "w.safetensors")
    assert list(back) == sorted(weights)
    assert all(same_bits(back[name], array) for name, array in weights.items())


def test_loaded_weights_can_be_updated_in_place(tmp_path):
    gs.save_weights({"w": np.ones(3)}, tmp_path / "w.safetensors")
    weights = gs.load_weights(tmp_path / "w.safetensors")
    weights["w"] -= 0.5
    assert weights["w"].tolist() == [0.5] * 3


def test_files_are_those_of_the_safetensors_library():
    weights = {"a": np.arange(3, dtype=np.int8), "b": np.ones((2, 2), np.float32)}
    ours = safetensors.numpy.load(to_safetensors(weights))
    theirs = from_safetensors(safetensors.numpy.save(weights))
    for name, array in weights.items():
        assert same_bits(ours[name], array)
        assert same_bits(theirs[name], array)


def test_bfloat16_is_read_as_bfloat16():
    array = np.array([1.5], ml_dtypes.bfloat16)
    assert from_safetensors(to_safetensors({"w": array}))["w"].dtype == ml_dtypes.bfloat16


@pytest.mark.parametrize("content", [b"", b"12345678", b"\xff" * 20])
def test_what_is_no_safetensors_file_is_refused(tmp_path, content):
    path = tmp_path / "w.safetensors"
    path.write_bytes(content)
    with pytest.raises(gs.InvalidRequest, match=r"w\.safetensors: no safetensors file"):
        gs.load_weights(path)


def test_an_element_type_that_does_not_travel_is_refused(tmp_path):
    header = b'{"w":{"dtype":"F8_E4M3","shape":[1],"data_offsets":[0,1]}}'
    content = len(header).to_bytes(8, "little") + header + b"\0"
    with pytest.raises(gs.InvalidRequest, match="F8_E4M3"):
        from_safetensors(content)


def test_seeds_are_integers():
    assert gs.seeded(-3) == gs.Seeded(-3)
    with pytest.raises(gs.InvalidRequest, match=r"weights\.seed"):
        gs.seeded(0.5)


@pytest.mark.parametrize(
    ("ending", "format_"), [(".onnx", "onnx"), (".onnxtxt", "onnx_text"), (".stablehlo", "stablehlo")]
)
def test_formats_that_only_the_server_reads_are_files_as_they_are(tmp_path, ending, format_):
    path = tmp_path / f"net{ending}"
    path.write_bytes(b"anything")
    network = gs.load(path)
    assert (network.format, network.to_bytes(), network.inputs, network.outputs) == (format_, b"anything", (), ())
    assert repr(network) == f"Network({format_}, 8 bytes)"
    gs.save(network, tmp_path / f"copy{ending}")
    assert (tmp_path / f"copy{ending}").read_bytes() == b"anything"
    with pytest.raises(gs.InvalidRequest, match=f"expected {ending}"):
        gs.save(network, tmp_path / "net.json")
    with pytest.raises(gs.InvalidRequest, match="has a graph"):
        _ = network.graph


def test_onnx_is_read_from_any_file_and_from_text(tmp_path):
    path = tmp_path / "model"
    path.write_bytes(b"bytes")
    assert gs.load_onnx(path).format == "onnx"
    text = tmp_path / "model.onnxtxt"
    text.write_text("text")
    assert gs.load_onnx(text) == gs.onnx_text("text") == gs.load(text)
    assert gs.load_onnx(text) != gs.load_onnx(path)

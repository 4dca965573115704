"""Arguments become the request that they mean."""

import numpy as np
import pytest

import gradserve as gs
from gradserve import requests
from gradserve.v1 import gradient_service_pb2 as service_pb2
from gradserve.weights import to_safetensors

NET = gs.sequential(gs.dense(2), x=("batch", 3))
LOSS = gs.squared_error("y")
WEIGHTS = {"dense_1/kernel": np.ones((3, 2), np.float32), "dense_1/bias": np.zeros(2, np.float32)}
BATCH = {"x": np.ones((4, 3)), "y": np.zeros((4, 2))}


def gradients(network=NET, weights=WEIGHTS, batch=BATCH, loss=LOSS, **options):
    call = requests.gradients(network, weights, batch, loss=loss, **options)
    return service_pb2.ComputeGradientsRequest.FromString(call.message)


def signature(**changes):
    arguments = {"network": NET, "weights": WEIGHTS, "batch": BATCH, "loss": LOSS} | changes
    return requests.gradients(**arguments).signature


def test_a_plain_request_holds_network_weights_batch_and_loss():
    request = gradients()
    assert request.network.serialized_graph == NET.to_bytes()
    assert set(request.weights.tensors.by_name) == set(WEIGHTS)
    assert request.weights.tensors.by_name["dense_1/kernel"].data == np.ones(6, "<f4").tobytes()
    assert list(request.weights.tensors.by_name["dense_1/kernel"].shape) == [3, 2]
    assert set(request.batch) == {"x", "y"}
    assert request.batch["x"].data_type == 12  # float64 became float32
    assert request.loss == LOSS.message
    assert request.gradients == service_pb2.GradientSelection()
    assert request.options == service_pb2.ComputeOptions()


def test_every_option_reaches_its_field():
    request = gradients(
        parameters=["*", "!backbone/*"],
        inputs=["x"],
        without_parameters=True,
        summary_only=True,
        clip_global_norm=1.5,
        dtype="bfloat16",
        as_safetensors=True,
        outputs=["dense_1"],
        shared=["class_weights"],
        mode="training",
        seed=-7,
        precision="float16",
        loss_scale=1024.0,
        checkpointing="sqrt",
        micro_batches=4,
    )
    assert request.gradients == service_pb2.GradientSelection(
        parameters=["*", "!backbone/*"],
        inputs=["x"],
        without_parameters=True,
        summary_only=True,
        clip_global_norm=1.5,
        data_type=11,
        as_safetensors=True,
    )
    assert list(request.outputs) == ["dense_1"]
    assert list(request.shared) == ["class_weights"]
    assert request.options == service_pb2.ComputeOptions(
        mode=2, seed=-7, precision=2, loss_scale=1024.0, checkpointing=4, micro_batches=4
    )


def test_weights_from_a_seed_from_a_file_and_none():
    content = to_safetensors(WEIGHTS)
    assert gradients(weights=gs.seeded(0)).weights.WhichOneof("source") == "seed"
    assert gradients(weights=gs.seeded(-5)).weights.seed == -5
    assert gradients(weights=content).weights.safetensors == content
    assert gradients(weights=bytearray(content)).weights.safetensors == content
    assert not gradients(weights=None).HasField("weights")
    # A network without parameters has weights all the same: none.
    assert gradients(weights={}).weights.WhichOneof("source") == "tensors"


@pytest.mark.parametrize(
    ("weights", "sent"),
    [
        (WEIGHTS, 12),
        ({"w": np.ones(1)}, 13),
        ({"w": np.ones(1), "v": 0.5}, 13),
        ({"w": 0.5}, 12),
        (to_safetensors({"w": np.ones(1)}), 13),
        (to_safetensors(WEIGHTS), 12),
        (gs.seeded(0), 12),
    ],
)
def test_the_batch_is_double_where_the_weights_are(weights, sent):
    request = gradients(weights=weights)
    assert {one.data_type for one in request.batch.values()} == {sent}


def test_a_forward_request():
    call = requests.forward(NET, WEIGHTS, {"x": BATCH["x"]}, outputs=["dense_1"], mode="inference", seed=3)
    request = service_pb2.ForwardRequest.FromString(call.message)
    assert request.network.serialized_graph == NET.to_bytes()
    assert set(request.weights.tensors.by_name) == set(WEIGHTS)
    assert set(request.batch) == {"x"}
    assert not request.HasField("loss")
    assert list(request.outputs) == ["dense_1"]
    assert request.options == service_pb2.ComputeOptions(mode=1, seed=3)
    with_loss = requests.forward(NET, WEIGHTS, BATCH, loss=LOSS)
    assert service_pb2.ForwardRequest.FromString(with_loss.message).loss == LOSS.message


def test_a_request_to_describe():
    call = requests.describe(NET, dimensions={"batch": 32}, loss=LOSS, parameters=["*"], checkpointing="off")
    request = service_pb2.DescribeNetworkRequest.FromString(call.message)
    assert request.network.serialized_graph == NET.to_bytes()
    assert dict(request.dimensions) == {"batch": 32}
    assert request.loss == LOSS.message
    assert list(request.gradients.parameters) == ["*"]
    assert request.options.checkpointing == 1
    plain = service_pb2.DescribeNetworkRequest.FromString(requests.describe(NET).message)
    assert not plain.HasField("options")
    assert not plain.HasField("gradients")


def test_a_request_to_initialize():
    request = service_pb2.InitializeWeightsRequest.FromString(requests.initialize(NET, 7).message)
    assert (request.network.serialized_graph, request.seed) == (NET.to_bytes(), 7)


def test_values_and_seeds_do_not_compile_anew():
    other_weights = {name: one + 1 for name, one in WEIGHTS.items()}
    other_batch = {name: one + 1 for name, one in BATCH.items()}
    assert signature() == signature(weights=other_weights, batch=other_batch, seed=9)
    assert hash(signature()) == hash(signature(network=gs.sequential(gs.dense(2), x=("batch", 3))))


@pytest.mark.parametrize(
    "change",
    [
        {"network": gs.sequential(gs.dense(2), name="other", x=("batch", 3))},
        {"loss": gs.absolute_error("y")},
        {"batch": {"x": np.ones((5, 3)), "y": np.zeros((5, 2))}},
        {"batch": BATCH | {"y": np.zeros((4, 2), np.int32)}},
        {"batch": {"x": BATCH["x"], "z": BATCH["y"]}},
        {"weights": gs.seeded(0)},
        {"weights": {name: one.astype(np.float64) for name, one in WEIGHTS.items()}},
        {"inputs": ["x"]},
        {"mode": "training"},
        {"precision": "bfloat16"},
        {"clip_global_norm": 1.0},
    ],
)
def test_what_compiles_anew_changes_the_signature(change):
    assert signature(**change) != signature()


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"network": NET.graph}, "network"),
        ({"loss": "mse"}, "loss"),
        ({"loss": None}, "loss"),
        ({"weights": [1.0]}, "weights"),
        ({"weights": "w.safetensors"}, "weights"),
        ({"weights": {1: np.ones(1)}}, "weights"),
        ({"weights": {"w": "?"}}, "weights.w"),
        ({"batch": np.ones(3)}, "batch"),
        ({"batch": {"x": [[1.0], [1.0, 2.0]]}}, "batch.x"),
        ({"batch": {1: np.ones(3)}}, "batch"),
        ({"parameters": "*"}, "parameters"),
        ({"outputs": [1]}, "outputs"),
        ({"mode": "train"}, "mode"),
        ({"mode": ["training"]}, "mode"),
        ({"precision": "float8"}, "precision"),
        ({"precision": "float16", "loss_scale": 0.0}, "loss_scale"),
        ({"precision": "float16", "loss_scale": float("inf")}, "loss_scale"),
        ({"checkpointing": "none"}, "checkpointing"),
        ({"micro_batches": 0}, "micro_batches"),
        ({"dtype": "complex64"}, "dtype"),
        ({"seed": 1.5}, "seed"),
        ({"seed": 2**63}, "seed"),
    ],
)
def test_arguments_that_make_no_sense_are_refused_by_name(arguments, field):
    with pytest.raises(gs.InvalidRequest) as caught:
        gradients(**arguments)
    assert caught.value.field == field


def test_requests_do_not_depend_on_the_layout_of_arrays():
    big = {name: one.astype(one.dtype.newbyteorder(">")) for name, one in WEIGHTS.items()}
    turned = {name: np.asfortranarray(one) for name, one in WEIGHTS.items()}
    assert gradients() == gradients(weights=big) == gradients(weights=turned)


@pytest.mark.parametrize("format_", ["onnx", "onnx_text", "stablehlo"])
def test_a_network_in_another_format_goes_into_its_own_field(format_):
    network = gs.Network.imported(format_, b"content")
    for call, kind in (
        (requests.gradients(network, None, BATCH, loss=LOSS), service_pb2.ComputeGradientsRequest),
        (requests.describe(network), service_pb2.DescribeNetworkRequest),
    ):
        definition = kind.FromString(call.message).network
        assert definition.WhichOneof("source") == format_
        assert getattr(definition, format_) in (b"content", "content")

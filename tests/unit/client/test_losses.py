"""Losses write what the contract means by them."""

import numpy as np
import pytest
from google.protobuf import text_format

import gradserve as gs
from gradserve.tensors import from_tensor
from gradserve.v1 import loss_pb2

CASES = [
    (
        gs.softmax_cross_entropy("y"),
        'softmax_cross_entropy { target: "y" } reduction: REDUCTION_MEAN',
    ),
    (
        gs.softmax_cross_entropy(
            target="y",
            prediction="logits",
            label_smoothing=0.1,
            reduction="sum",
            example_weights="w",
        ),
        (
            'softmax_cross_entropy { target: "y" prediction: "logits" label_smoothing: 0.1 } '
            'reduction: REDUCTION_SUM example_weights: "w"'
        ),
    ),
    (
        gs.binary_cross_entropy("y", from_logits=True),
        'binary_cross_entropy { target: "y" from_logits: true } reduction: REDUCTION_MEAN',
    ),
    (
        gs.squared_error("y", "p", reduction="sum_then_mean"),
        'squared_error { target: "y" prediction: "p" } reduction: REDUCTION_SUM_THEN_MEAN',
    ),
    (gs.absolute_error("y"), 'absolute_error { target: "y" } reduction: REDUCTION_MEAN'),
    (
        gs.negative_log_likelihood("y", from_log=True),
        'negative_log_likelihood { target: "y" from_log: true } reduction: REDUCTION_MEAN',
    ),
    (
        gs.huber_loss("y", delta=2.5, reduction="sum"),
        'huber { target: "y" delta: 2.5 } reduction: REDUCTION_SUM',
    ),
    (
        gs.kullback_leibler_divergence("y", "log_p", example_weights="w"),
        'kullback_leibler { target: "y" prediction: "log_p" } reduction: REDUCTION_MEAN example_weights: "w"',
    ),
    (
        gs.next_token_cross_entropy("tokens", example_weights="mask"),
        'next_token { tokens: "tokens" } reduction: REDUCTION_MEAN example_weights: "mask"',
    ),
    (gs.output_loss("energy"), 'output { prediction: "energy" } reduction: REDUCTION_MEAN'),
    (
        gs.sum_of_losses({"a": gs.output_loss("p"), "b": (0.0, gs.absolute_error("y"))}),
        (
            "sum { "
            'terms { name: "a" loss { output { prediction: "p" } reduction: REDUCTION_MEAN } } '
            'terms { name: "b" weight: 0 '
            'loss { absolute_error { target: "y" } reduction: REDUCTION_MEAN } } }'
        ),
    ),
]


@pytest.mark.parametrize(("loss", "text"), CASES)
def test_losses_write_the_message_that_they_mean(loss, text):
    assert loss.message == text_format.Parse(text, loss_pb2.Loss())


def test_cotangents_travel_in_their_own_type_and_lists_in_float64():
    loss = gs.cotangents({"b": np.float32([1, 2]), "a": [[3, 4]], "c": 0.5}, stacked=True)
    by_output = loss.message.cotangents.by_output
    types = {name: str(from_tensor(one).dtype) for name, one in by_output.items()}
    assert types == {"a": "float64", "b": "float32", "c": "float64"}
    np.testing.assert_array_equal(from_tensor(by_output["a"]), [[3, 4]])
    np.testing.assert_array_equal(from_tensor(by_output["b"]), [1, 2])
    assert from_tensor(by_output["c"]) == 0.5
    assert loss.message.cotangents.stacked
    assert loss.message.reduction == 0
    assert loss.to_bytes() == loss.message.SerializeToString(deterministic=True)


def test_a_custom_loss_infers_types_and_shapes_and_may_name_parameters():
    graph = gs.GraphBuilder("penalty")
    kernel, y = graph.input("dense_1/kernel", 3, 4), graph.input("y", "n", dtype="int32")
    loss = gs.custom_loss(graph.build([graph.add(gs.reduce_sum(), kernel * kernel) + y]))
    inputs = loss.message.custom.graph.inputs
    assert [(one.name, one.data_type, len(one.shape)) for one in inputs] == [
        ("dense_1/kernel", 0, 0),
        ("y", 0, 0),
    ]
    assert loss.message.custom.graph.name == "penalty"


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: gs.squared_error("y", reduction="none"), "loss.reduction"),
        (lambda: gs.sum_of_losses({}), "loss.sum.terms"),
        (lambda: gs.sum_of_losses({"a": "mse"}), "loss.sum.terms.a"),
        (
            lambda: gs.sum_of_losses({"a": gs.sum_of_losses({"b": gs.output_loss()})}),
            "loss.sum.terms.a",
        ),
        (lambda: gs.custom_loss(gs.output_loss()), "loss.custom"),
        (lambda: gs.huber_loss("y", delta=0.0), "loss.huber.delta"),
        (lambda: gs.huber_loss("y", delta=float("nan")), "loss.huber.delta"),
        (lambda: gs.cotangents({}), "loss.cotangents.by_output"),
        (lambda: gs.cotangents({"p": "slope"}), "loss.cotangents.by_output.p"),
    ],
)
def test_losses_that_make_no_sense_are_refused_at_once(make, field):
    with pytest.raises(gs.InvalidRequest) as caught:
        make()
    assert caught.value.field == field


def test_losses_are_values():
    assert gs.squared_error("y") == gs.squared_error("y")
    assert hash(gs.squared_error("y")) == hash(gs.squared_error("y"))
    assert gs.squared_error("y") != gs.squared_error("z")
    assert repr(gs.squared_error("y")) == "Loss(squared_error)"


def test_losses_that_the_server_computes_with_one_program_are_of_one_form():
    def total(weight, slope):
        return gs.sum_of_losses({"a": (weight, gs.squared_error("y")), "b": gs.cotangents({"p": np.float64([slope])})})

    assert gs.squared_error("y").form == gs.squared_error("y").to_bytes() != gs.squared_error("z").form
    one, other = gs.cotangents({"p": np.float32([1])}), gs.cotangents({"p": np.float32([2])})
    assert one != other
    assert one.form == other.form != gs.cotangents({"p": np.float64([1])}).form
    assert one.form != gs.cotangents({"p": np.float32([1])}, stacked=True).form
    assert total(1.0, 2.0).form == total(3.0, 4.0).form
    assert total(0.0, 2.0).form != total(1.0, 2.0).form

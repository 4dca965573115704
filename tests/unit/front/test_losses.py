"""A loss is taken apart into a definition and the numbers that may change with every request."""

import math

import numpy as np
import pytest

from gradserve.v1 import loss_pb2, tensor_pb2
from gradserve_server.common.errors import Problem, Reason
from gradserve_server.front.losses import read_loss
from tests.unit.front.scaling_worker import tensor

MOST = 1000


def cotangents(**by_output: object) -> loss_pb2.Loss:
    arrays = {name: tensor(array) for name, array in by_output.items()}
    return loss_pb2.Loss(cotangents=loss_pb2.Loss.Cotangents(by_output=arrays))


def weighted(*weights: float | None) -> loss_pb2.Loss:
    loss = loss_pb2.Loss()
    for index, weight in enumerate(weights):
        term = loss_pb2.Loss(output=loss_pb2.Loss.Output())
        loss.sum.terms.add(name=f"t{index}", weight=weight, loss=term)
    return loss


def test_a_loss_without_data_is_its_bytes() -> None:
    loss = loss_pb2.Loss(squared_error=loss_pb2.Loss.SquaredError(target="y"), example_weights="w")
    assert read_loss(loss, MOST) == (loss.SerializeToString(deterministic=True), {})


def test_a_loss_without_anything_is_still_a_loss() -> None:
    content, vectors = read_loss(loss_pb2.Loss(), MOST)
    assert loss_pb2.Loss.FromString(content).WhichOneof("formula") is None
    assert content
    assert not vectors


def test_cotangents_leave_their_names_behind_and_nothing_else() -> None:
    content, vectors = read_loss(cotangents(b=[1.0, 2.0], a=3.0), MOST)
    other, _ = read_loss(cotangents(a=-3.0, b=[[5.0]]), MOST)
    assert content == other
    assert list(vectors) == ["loss.cotangents.by_output.a", "loss.cotangents.by_output.b"]
    np.testing.assert_array_equal(vectors["loss.cotangents.by_output.b"], np.float32([1, 2]))


def test_cotangents_do_not_count_as_definition() -> None:
    assert len(read_loss(cotangents(a=np.zeros(10_000)), 50)[0]) < 50
    with pytest.raises(Problem) as caught:
        read_loss(cotangents(**{"a" * 100: 1.0}), 50)
    assert caught.value.reason is Reason.TOO_LARGE


def test_weights_of_terms_travel_as_one_vector_but_zeros_stay() -> None:
    content, vectors = read_loss(weighted(None, 0.5, 0.0, -2.0), MOST)
    assert list(vectors) == ["loss.sum.weights"]
    np.testing.assert_array_equal(vectors["loss.sum.weights"], [1, 0.5, 1, -2])
    assert content == read_loss(weighted(3.0, 4.0, 0.0, 5.0), MOST)[0]
    assert content != read_loss(weighted(3.0, 4.0, 1.0, 5.0), MOST)[0]
    assert read_loss(weighted(None, 0.0), MOST)[1] == {}


@pytest.mark.parametrize("weight", [math.inf, -math.inf, math.nan])
def test_a_weight_that_is_no_number_stays_to_be_refused(weight: float) -> None:
    content, vectors = read_loss(weighted(weight), MOST)
    assert not vectors
    assert loss_pb2.Loss.FromString(content).sum.terms[0].HasField("weight")


def test_cotangents_of_terms_are_found_by_their_place() -> None:
    loss = weighted(1.0, None)
    loss.sum.terms[1].loss.CopyFrom(cotangents(p=1.5))
    content, vectors = read_loss(loss, MOST)
    assert list(vectors) == ["loss.sum.terms[1].loss.cotangents.by_output.p", "loss.sum.weights"]
    left = loss_pb2.Loss.FromString(content).sum.terms[1].loss.cotangents.by_output["p"]
    assert left == tensor_pb2.Tensor()


def test_a_cotangent_that_does_not_agree_with_itself_is_refused_with_its_place() -> None:
    loss = cotangents(p=[1.0, 2.0])
    loss.cotangents.by_output["p"].shape[0] = 3
    with pytest.raises(Problem) as caught:
        read_loss(loss, MOST)
    assert caught.value.reason is Reason.INVALID_TENSOR
    assert caught.value.metadata["field"] == "loss.cotangents.by_output.p.data"

"""Requests as callers write them (``requests/*.json``), served and held against differences taken through the server.

The differences are taken in float64: definition, batch, loss and options are those of the file, its weights are wider.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from google.protobuf import json_format

import gradserve as gs
from gradserve.tensors import from_tensor, to_tensor
from gradserve.v1 import gradient_service_pb2 as service
from gradserve.v1 import tensor_pb2

FILES = {path.stem: path for path in sorted((Path(__file__).parent / "requests").glob("*.json"))}
# To compile them in float32 as well takes long.
LARGE = {"03_resnet20_uint8_image", "04_unet", "05_bert", "06_gpt_untied"}
LONG = pytest.mark.long
DIRECTIONS = 3
SINGLES = 4
STEP = 1e-6

Request = service.ComputeGradientsRequest
Arrays = Mapping[str, np.ndarray[Any, Any]]

each_file = pytest.mark.parametrize("name", FILES)


@dataclasses.dataclass(frozen=True)
class Answer:
    message: service.ComputeGradientsResponse

    @property
    def loss(self) -> float:
        return self.message.loss

    @property
    def gradients(self) -> dict[str, np.ndarray[Any, Any]]:
        """Of parameters and inputs."""
        tensors = {**self.message.tensors.by_name, **self.message.input_gradients}
        return {name: from_tensor(one) for name, one in tensors.items()}


Compute = Callable[[Request], Answer]


@pytest.fixture(scope="module")
def compute(client: gs.Client) -> Iterator[Compute]:
    with grpc.insecure_channel(client.address) as channel:
        call = channel.unary_unary("/gradserve.v1.GradientService/ComputeGradients")

        def one(request: Request) -> Answer:
            return Answer(service.ComputeGradientsResponse.FromString(call(request.SerializeToString(), timeout=120)))

        yield one


def read(name: str) -> Request:
    return json_format.Parse(FILES[name].read_text(), Request())


def plain(request: Request) -> Request:
    """The same request for gradients of the batch as a whole."""
    for option in ("per_example", "clip_example_norm", "example_summary"):
        request.gradients.ClearField(option)
    return request


def widened(request: Request, client: gs.Client) -> Request:
    """The same request with weights in float64, and with inputs in float64 where their gradients are asked for."""
    wide = Request()
    wide.CopyFrom(request)
    if request.weights.HasField("seed"):
        network = gs.Network(request.network.graph)
        weights = client.initialize(network, request.weights.seed)
    else:
        weights = {name: from_tensor(one) for name, one in request.weights.tensors.by_name.items()}
    for declared in wide.network.graph.inputs:
        if declared.name in request.gradients.inputs:
            declared.data_type = tensor_pb2.DATA_TYPE_FLOAT64
            values = from_tensor(wide.batch[declared.name]).astype(np.float64)
            wide.batch[declared.name].CopyFrom(to_tensor(values, declared.name))
    wide.weights.Clear()
    move(wide, {name: value.astype(np.float64) for name, value in weights.items()})
    return wide


def move(request: Request, values: Arrays) -> None:
    """Puts other values of weights and inputs into `request`."""
    for name, value in values.items():
        inputs = name in request.gradients.inputs
        tensors = request.batch if inputs else request.weights.tensors.by_name
        tensors[name].CopyFrom(to_tensor(value, name))


def values_of(request: Request, names: Mapping[str, Any]) -> dict[str, np.ndarray[Any, Any]]:
    tensors = {**request.weights.tensors.by_name, **{name: request.batch[name] for name in request.gradients.inputs}}
    return {name: from_tensor(tensors[name]) for name in names}


def slope(compute: Compute, request: Request, direction: Arrays) -> float:
    """Derivative of the loss in a direction, by central differences."""
    losses = []
    for side in (1, -1):
        moved = Request()
        moved.CopyFrom(request)
        values = values_of(request, direction)
        move(moved, {name: value + side * STEP * direction[name] for name, value in values.items()})
        losses.append(compute(moved).loss)
    return (losses[0] - losses[1]) / (2 * STEP)


def directions(gradients: Arrays) -> Iterator[Arrays]:
    """Some of all at once, some of one number each: the steepest of a tensor, and any."""
    generator = np.random.default_rng(0)
    for _ in range(DIRECTIONS):
        yield {name: generator.normal(size=one.shape) for name, one in gradients.items()}
    for turn in range(SINGLES):
        name = generator.choice(sorted(gradients))
        gradient = gradients[name]
        place = generator.integers(gradient.size) if turn % 2 else np.abs(gradient).argmax()
        unit = np.zeros(gradient.size)
        unit[place] = 1.0
        yield {name: unit.reshape(gradient.shape)}


def assert_agree_with_differences(compute: Compute, request: Request) -> None:
    answer = compute(request)
    gradients = answer.gradients
    assert np.isfinite(answer.loss)
    assert gradients
    scale = np.sqrt(sum(np.square(one).sum() for one in gradients.values()))
    assert scale > 0
    for direction in directions(gradients):
        expected = slope(compute, request, direction)
        given = sum((gradients[name] * one).sum() for name, one in direction.items())
        assert given == pytest.approx(expected, rel=1e-5, abs=1e-7 * scale), sorted(direction)


@pytest.mark.parametrize("name", [pytest.param(name, marks=LONG if name in LARGE else ()) for name in FILES])
def test_gradients_agree_with_differences(compute: Compute, client: gs.Client, name: str) -> None:
    assert_agree_with_differences(compute, widened(plain(read(name)), client))


@pytest.mark.parametrize("name", [pytest.param(name, marks=LONG if name in LARGE else ()) for name in FILES])
def test_a_request_is_served_as_it_is(compute: Compute, client: gs.Client, name: str) -> None:
    request = plain(read(name))
    served, wide = compute(request), compute(widened(request, client))
    assert served.loss == pytest.approx(wide.loss, rel=1e-4)
    assert served.gradients.keys() == wide.gradients.keys()
    scale = max(np.abs(one).max() for one in wide.gradients.values())
    for key, gradient in served.gradients.items():
        assert gradient.dtype == np.float32
        np.testing.assert_allclose(gradient, wide.gradients[key], rtol=1e-3, atol=1e-4 * scale)


def test_a_sum_answers_with_its_terms(compute: Compute) -> None:
    request = read("15_multitask_sum")
    answer = compute(request)
    weights = {term.name: term.weight if term.HasField("weight") else 1 for term in request.loss.sum.terms}
    assert set(weights) == {"class", "box"}
    assert answer.loss == pytest.approx(sum(weights[name] * one for name, one in answer.message.terms.items()))


def test_a_frozen_backbone_has_no_gradients(compute: Compute) -> None:
    assert {name.partition("/")[0] for name in compute(read("20_frozen_backbone")).gradients} == {"head"}


@pytest.mark.long
def test_batch_statistics_come_back(compute: Compute, client: gs.Client) -> None:
    request = widened(read("03_resnet20_uint8_image"), client)
    updated = compute(request).message.updated_statistics
    assert len(updated) == 2 * 21
    assert {name.rpartition("/")[2] for name in updated} == {"mean", "variance"}

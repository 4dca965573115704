"""Served gradients against finite differences of the served loss."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, final

import numpy as np

from gradserve import requests
from gradserve.casting import batch_array
from gradserve.errors import InvalidRequest
from gradserve.held import HeldWeights
from gradserve.layers import whole
from gradserve.losses import Loss
from gradserve.network import Network
from gradserve.requests import Call, Mode
from gradserve.tensors import Array, ArrayLike, to_array
from gradserve.v1 import tensor_pb2
from gradserve.weights import Seeded, Weights, from_safetensors

# The cube root of what rounding takes from a number: there, rounding and curvature err alike. For float64 and float32.
_STEPS = {True: 1e-5, False: 1e-2}
_TOLERANCES = {True: 1e-5, False: 2e-2}
_NARROW = (tensor_pb2.DATA_TYPE_FLOAT32, tensor_pb2.DATA_TYPE_FLOAT16, tensor_pb2.DATA_TYPE_BFLOAT16)
_ROUNDINGS = 100  # How many a loss may gather.


@final
@dataclass(frozen=True, slots=True)
class CheckedDerivative:
    """One derivative of the loss, served and by differences.

    Attributes:
        name: the parameter or input that moves; empty for all parameters at once.
        element: its place, where that alone moves; None where all move along a random direction.
        served: gradient times direction.
        difference: (loss ahead - loss behind) / (2 * step), along the same direction.
        holds: whether they agree.
    """

    name: str
    element: tuple[int, ...] | None
    served: float
    difference: float
    holds: bool

    @property
    def relative_error(self) -> float:
        """Their distance by the larger of both; 0 where both are 0."""
        largest = max(abs(self.served), abs(self.difference))
        return abs(self.served - self.difference) / largest if largest else 0.0


@final
@dataclass(frozen=True, slots=True)
class GradientCheck:
    """Served gradients against finite differences.

    Attributes:
        loss: the loss at the place of the check.
        derivatives: what was compared.
        tolerance: largest relative difference.
        step: how far ahead and behind the loss was computed, by the length of the direction.
    """

    loss: float
    derivatives: tuple[CheckedDerivative, ...]
    tolerance: float
    step: float

    @property
    def differing(self) -> tuple[CheckedDerivative, ...]:
        """Those that do not agree."""
        return tuple(one for one in self.derivatives if not one.holds)

    @property
    def holds(self) -> bool:
        """Whether all agree."""
        return not self.differing


_Place = dict[str, dict[str, Array]]


def gradient_check(
    network: Network,
    weights: Weights | None,
    batch: Mapping[str, ArrayLike],
    *,
    loss: Loss,
    parameters: Iterable[str] = (),
    inputs: Iterable[str] = (),
    directions: int = 2,
    elements: int = 2,
    tolerance: float | None = None,
    shared: Iterable[str] = (),
    mode: Mode | None = None,
    seed: int = 0,
) -> Generator[Call[Any], Any, GradientCheck]:
    """The calls of a check, one after the other: takes the answer of each; the arguments are those of the client.

    Raises:
        InvalidRequest: weights that are not here, or numbers that are none.
    """
    whole(directions, "directions", 0)
    whole(elements, "elements", 0)
    arrays = yield from _weights(network, weights)
    # Only a native graph can be computed in another type than it was written for.
    free = network.format == "graph"
    network = _wide_network(network) if free else network
    declared = network.input_dtypes
    place: _Place = {
        "weights": {name: _widened(one) if free else one for name, one in arrays.items()},
        "batch": {},
    }
    double = any(one.dtype == np.float64 for one in place["weights"].values())
    for name, value in batch.items():
        one = batch_array(value, declared.get(name), double, f"batch.{name}")
        place["batch"][name] = _widened(one) if free and double else one
    inputs, shared = tuple(inputs), tuple(shared)

    def loss_at(place: _Place) -> Call[Any]:
        if not shared:
            return requests.forward(network, place["weights"], place["batch"], loss=loss, mode=mode, seed=seed)
        return requests.gradients(
            network,
            place["weights"],
            place["batch"],
            loss=loss,
            summary_only=True,
            shared=shared,
            mode=mode,
            seed=seed,
        )

    answer = yield requests.gradients(
        network,
        place["weights"],
        place["batch"],
        loss=loss,
        parameters=parameters,
        inputs=inputs,
        shared=shared,
        mode=mode,
        seed=seed,
    )
    gradients = {
        **{("weights", name): one for name, one in answer.gradients.items()},
        **{("batch", name): one for name, one in answer.input_gradients.items()},
    }
    step = _STEPS[double]
    most = _TOLERANCES[double] if tolerance is None else tolerance
    # What rounding alone makes of two losses that are equal.
    noise = _ROUNDINGS * float(np.finfo(np.float64 if double else np.float32).eps) * abs(answer.loss) / step
    checked: list[CheckedDerivative] = []
    for name, element, direction in _directions(gradients, directions, elements, seed):
        losses = []
        for sign in (1, -1):
            moved = yield loss_at(_moved(place, direction, sign * step))
            losses.append(moved.loss)
        served = sum(float(np.sum(np.float64(gradients[key]) * one)) for key, one in direction.items())
        difference = (losses[0] - losses[1]) / (2 * step)
        apart = abs(served - difference)
        holds = apart <= most * max(abs(served), abs(difference)) + noise  # False where one is not a number.
        checked.append(CheckedDerivative(name, element, served, difference, holds))
    return GradientCheck(answer.loss, tuple(checked), most, step)


_Key = tuple[str, str]
_Direction = dict[_Key, np.ndarray[Any, np.dtype[np.float64]]]


def _directions(
    gradients: Mapping[_Key, Array], directions: int, elements: int, seed: int
) -> Iterable[tuple[str, tuple[int, ...] | None, _Direction]]:
    """What is moved, and along which direction of length 1."""
    generator = np.random.default_rng(abs(seed))

    def drawn(keys: Iterable[_Key]) -> _Direction:
        found = {key: generator.standard_normal(gradients[key].shape) for key in keys}
        length = np.sqrt(sum(float(np.sum(one * one)) for one in found.values()))
        return {key: one / length for key, one in found.items()}

    full = [key for key, one in gradients.items() if one.size]
    parameters = [key for key in full if key[0] == "weights"]
    for _ in range(directions if parameters else 0):
        yield "", None, drawn(parameters)
    for key in full:
        yield key[1], None, drawn([key])
        gradient = np.abs(gradients[key].astype(np.float64)).ravel()
        others = generator.permutation(gradient.size)
        largest = int(np.argmax(gradient))
        for index in [largest, *others[others != largest]][:elements]:
            element = tuple(int(one) for one in np.unravel_index(index, gradients[key].shape))
            alone = np.zeros(gradients[key].shape)
            alone[element] = 1.0
            yield key[1], element, {key: alone}


def _moved(place: _Place, direction: _Direction, step: float) -> _Place:
    """The place, a step along the direction; each array keeps its type."""
    moved = {group: dict(arrays) for group, arrays in place.items()}
    for (group, name), one in direction.items():
        value = moved[group][name]
        moved[group][name] = (value.astype(np.float64) + step * one).astype(value.dtype)
    return moved


def _weights(network: Network, weights: Weights | None) -> Generator[Call[Any], Any, dict[str, Array]]:
    """Arrays by name, whatever form the weights have."""
    if weights is None or isinstance(weights, Seeded):
        drawn: dict[str, Array] = yield requests.initialize(network, weights.seed if weights else 0)
        return drawn
    if isinstance(weights, (bytes, bytearray, memoryview)):
        return from_safetensors(bytes(weights))
    if isinstance(weights, HeldWeights) or not isinstance(weights, Mapping):
        raise InvalidRequest.because(
            "a check moves the weights, and so needs them here",
            field="weights",
            given=type(weights).__name__,
            expected="arrays by name, the bytes of a safetensors file, or gs.seeded(0)",
        )
    return {name: to_array(one, f"weights.{name}") for name, one in weights.items()}


def _wide_network(network: Network) -> Network:
    """The same with inputs of float64 in place of narrower ones."""
    graph = network.graph
    for one in graph.inputs:
        if one.data_type in _NARROW:
            one.data_type = tensor_pb2.DATA_TYPE_FLOAT64
    return Network(graph)


def _widened(array: Array) -> Array:
    """In float64 if it is floating-point at all."""
    is_floating = array.dtype.kind == "f" or array.dtype.name == "bfloat16"
    return array.astype(np.float64) if is_floating else array

"""The front adds the values of inputs that decide shapes to specs, once the worker has named them."""

from __future__ import annotations

import numpy as np
import pytest

from gradserve_server.common.errors import Problem, Reason
from gradserve_server.common.specs import ArraySpec, NetworkSource, ProgramSpec
from gradserve_server.front.convert import Task
from gradserve_server.front.static_inputs import StaticInputs
from gradserve_server.worker.interface import Seeds

NETWORK = NetworkSource("onnx", b"model")


def task(shape: object = (2, 3), network: bytes = b"model") -> Task:
    arrays = {"s": np.asarray(shape, np.int64), "x": np.ones(6, np.float32)}
    weight = np.zeros(1, np.float32)
    spec = ProgramSpec(
        kind="forward",
        network=NetworkSource("onnx", network),
        loss=b"",
        batch=tuple(ArraySpec(name, array.dtype.name, array.shape) for name, array in arrays.items()),
        weights=(ArraySpec("w", "float32", (1,)),),
    )
    return Task(spec, (weight, *arrays.values()), Seeds(), 0)


def test_what_was_learned_holds_for_the_network_and_its_values_for_the_request() -> None:
    inputs = StaticInputs()
    assert inputs.complete(task()).spec.static == ()
    inputs.learn(NETWORK, ("s",))
    (value,) = inputs.complete(task((3, 2))).spec.static
    np.testing.assert_array_equal(value.read(), [3, 2])
    assert inputs.complete(task((3, 2))).key == inputs.complete(task((3, 2))).key
    assert len({inputs.complete(task((3, 2))).key, inputs.complete(task((2, 3))).key, task().key}) == 3
    assert inputs.complete(task(network=b"other")).spec.static == ()


def test_the_worker_cannot_ask_for_the_same_for_ever() -> None:
    inputs = StaticInputs()
    inputs.learn(NETWORK, ("s",))
    with pytest.raises(AssertionError, match="values that it has"):
        inputs.learn(NETWORK, ("s",))


def test_large_values_are_data_and_no_shapes() -> None:
    inputs = StaticInputs()
    large = task(np.zeros(1 << 18))
    inputs.learn(NETWORK, ("s",))
    with pytest.raises(Problem) as caught:
        inputs.complete(large)
    assert caught.value.reason is Reason.TOO_LARGE
    assert caught.value.metadata["field"] == "batch.s"

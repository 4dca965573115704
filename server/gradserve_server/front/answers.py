"""The results of a run as answers of the contract."""

from __future__ import annotations

import collections
from collections.abc import Iterable

import numpy as np

from gradserve.v1 import gradient_service_pb2 as service
from gradserve.v1 import tensor_pb2
from gradserve_server.common.specs import ArraySpec, Program, SymbolicSpec
from gradserve_server.front.convert import Task
from gradserve_server.front.encoding import Answer
from gradserve_server.front.tensors import NUMBERS, Array, write_safetensors

Gradients = service.ComputeGradientsResponse


def gradients_answer(program: Program, results: Iterable[Array], task: Task) -> Answer[Gradients]:
    """The answer that the results of a run make."""
    head = Gradients()
    groups: dict[str, dict[str, Array]] = collections.defaultdict(dict)
    for result, array in zip(program.results, results, strict=True):
        groups[result.group][result.array.name] = array
    _numbers(head, program.numbers, groups["numbers"]["numbers"])
    maps = {
        Gradients.INPUT_GRADIENTS_FIELD_NUMBER: groups["input_gradient"],
        Gradients.OUTPUTS_FIELD_NUMBER: groups["output"],
        Gradients.UPDATED_STATISTICS_FIELD_NUMBER: groups["updated_statistic"],
    }
    if task.as_safetensors:
        head.safetensors = write_safetensors(groups["gradient"])
        return Answer(head, maps, {})
    return Answer(head, maps, {Gradients.TENSORS_FIELD_NUMBER: groups["gradient"]})


def _numbers(response: service.ComputeGradientsResponse, names: tuple[str, ...], values: Array) -> None:
    summary = response.summary
    for name, value in zip(names, values.tolist(), strict=True):
        match name:
            case "loss":
                response.loss = value
            case "weight_sum":
                response.weight_sum = value
            case "global_norm":
                summary.global_norm = value
            case "finite":
                summary.finite = bool(value)
            case _:
                kind, _, path = name.partition(":")
                (summary.norms if kind == "norm" else response.terms)[path] = value


def forward_answer(program: Program, results: Iterable[Array], _task: Task) -> Answer[service.ForwardResponse]:
    """The answer that the results of a run make."""
    head = service.ForwardResponse()
    outputs: dict[str, Array] = {}
    for result, array in zip(program.results, results, strict=True):
        if result.group == "output":
            outputs[result.array.name] = array
        elif result.group == "numbers":
            head.loss = float(array[program.numbers.index("loss")])
    return Answer(head, {service.ForwardResponse.OUTPUTS_FIELD_NUMBER: outputs}, {})


def tensor_spec(spec: ArraySpec | SymbolicSpec) -> tensor_pb2.TensorSpec:
    """Name, type and shape as the contract writes them."""
    dimensions = [
        tensor_pb2.Dimension(symbol=size) if isinstance(size, str) else tensor_pb2.Dimension(size=size)
        for size in spec.shape
    ]
    return tensor_pb2.TensorSpec(name=spec.name, data_type=NUMBERS[np.dtype(spec.dtype)], shape=dimensions)  # type: ignore[arg-type]

"""The results of a run as answers of the contract."""

from __future__ import annotations

import collections
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gradserve.v1 import gradient_service_pb2 as service
from gradserve.v1 import tensor_pb2
from gradserve_server.common.specs import ArraySpec, Program, SymbolicSpec
from gradserve_server.front.convert import Task
from gradserve_server.front.encoding import Form, Numbers, Slot, Times, entry, nested, number, tensor_headers
from gradserve_server.front.tensors import NUMBERS, Array, write_safetensors

Gradients = service.ComputeGradientsResponse
Forward = service.ForwardResponse
Summary = service.GradientSummary

_MOST_FORMS = 1024


def gradients_answer(program: Program, results: Sequence[Array], task: Task, times: Times) -> bytes:
    """The serialized answer that the results of a run make."""
    content = _gradients_form(program, task.as_safetensors).encode(results, times)
    if task.as_safetensors:
        found = {
            one.array.name: array
            for one, array in zip(program.results, results, strict=True)
            if one.group == "gradient"
        }
        content += Gradients(safetensors=write_safetensors(found)).SerializeToString()
    return content


def forward_answer(program: Program, results: Sequence[Array], _task: Task, times: Times) -> bytes:
    """The serialized answer that the results of a run make."""
    return _forward_form(program).encode(results, times)


def _kept(make: Callable[..., Form]) -> Callable[..., Form]:
    """`make`, its forms kept by the key of their program."""
    forms: collections.OrderedDict[tuple[Any, ...], Form] = collections.OrderedDict()
    lock = threading.Lock()

    def find(program: Program, *how: Any) -> Form:
        key = (program.key, *how)
        form = forms.get(key)
        if form is None:
            form = make(program, *how)
            with lock:
                forms[key] = form
                if len(forms) > _MOST_FORMS:
                    forms.popitem(last=False)
        return form

    return find


@_kept
def _gradients_form(program: Program, as_safetensors: bool) -> Form:
    slots = {name: Slot(index) for index, name in enumerate(program.numbers)}
    finite = Slot(slots["finite"].index, boolean=True)
    summary = [
        *number(Summary.GLOBAL_NORM_FIELD_NUMBER, slots["global_norm"]),
        *number(Summary.FINITE_FIELD_NUMBER, finite),
    ]
    parts = number(Gradients.LOSS_FIELD_NUMBER, slots["loss"])
    if "weight_sum" in slots:
        parts += number(Gradients.WEIGHT_SUM_FIELD_NUMBER, slots["weight_sum"])
    for name, slot in slots.items():
        kind, _, path = name.partition(":")
        if kind == "norm":
            summary += entry(Summary.NORMS_FIELD_NUMBER, path, slot)
        elif kind == "term":
            parts += entry(Gradients.TERMS_FIELD_NUMBER, path, slot)
    maps = {
        "input_gradient": Gradients.INPUT_GRADIENTS_FIELD_NUMBER,
        "output": Gradients.OUTPUTS_FIELD_NUMBER,
        "updated_statistic": Gradients.UPDATED_STATISTICS_FIELD_NUMBER,
    }
    return Form(
        (_numbers_of(program), Numbers(parts + nested(Gradients.SUMMARY_FIELD_NUMBER, summary))),
        tensor_headers(program, maps, {} if as_safetensors else {"gradient": Gradients.TENSORS_FIELD_NUMBER}),
        Gradients.TIMING_FIELD_NUMBER,
    )


@_kept
def _forward_form(program: Program) -> Form:
    numbers = None
    if "loss" in program.numbers:
        loss = Slot(program.numbers.index("loss"))
        numbers = _numbers_of(program), Numbers(number(Forward.LOSS_FIELD_NUMBER, loss))
    tensors = tensor_headers(program, {"output": Forward.OUTPUTS_FIELD_NUMBER}, {})
    return Form(numbers, tensors, Forward.TIMING_FIELD_NUMBER)


def _numbers_of(program: Program) -> int:
    """Index of the result that holds the numbers."""
    return next(index for index, one in enumerate(program.results) if one.group == "numbers")


def tensor_spec(spec: ArraySpec | SymbolicSpec) -> tensor_pb2.TensorSpec:
    """Name, type and shape as the contract writes them."""
    dimensions = [
        tensor_pb2.Dimension(symbol=size) if isinstance(size, str) else tensor_pb2.Dimension(size=size)
        for size in spec.shape
    ]
    return tensor_pb2.TensorSpec(name=spec.name, data_type=NUMBERS[np.dtype(spec.dtype)], shape=dimensions)  # type: ignore[arg-type]

"""The results of a run as answers of the contract."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gradserve.v1 import gradient_service_pb2 as service
from gradserve.v1 import tensor_pb2
from gradserve_server.common.specs import ArraySpec, Program, SymbolicSpec
from gradserve_server.front.convert import Task
from gradserve_server.front.forms import Form, Numbers, Reply, Slot, Tensors, Times, entry, kept, nested, number
from gradserve_server.front.tensors import NUMBERS, Array, write_safetensors

Gradients = service.ComputeGradientsResponse
Forward = service.ForwardResponse
Summary = service.GradientSummary


def gradients_answer(program: Program, results: Sequence[Array], task: Task, times: Times, *, split: bool) -> Reply:
    """The answer that the results of a run make; `split` attaches what is large."""
    reply = _gradients_form(program, as_safetensors=task.as_safetensors, split=split).reply(
        results, times, task.appendix
    )
    if not task.as_safetensors:
        return reply
    found = {
        one.array.name: array for one, array in zip(program.results, results, strict=True) if one.group == "gradient"
    }
    file = write_safetensors(found)
    if not split:
        return Reply(reply.content + Gradients(safetensors=file).SerializeToString())
    attachment = tensor_pb2.Attachment(number=len(reply.attachments) + 1, size_bytes=len(file))
    content = reply.content + Gradients(attachment=attachment).SerializeToString()
    return Reply(content, (*reply.attachments, memoryview(file)))


def forward_answer(program: Program, results: Sequence[Array], _task: Task, times: Times, *, split: bool) -> Reply:
    """The answer that the results of a run make; `split` attaches what is large."""
    return _forward_form(program, split=split).reply(results, times)


@kept
def _gradients_form(program: Program, *, as_safetensors: bool, split: bool) -> Form:
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
    tensors = Tensors(program, split=split)
    tensors.map("input_gradient", Gradients.INPUT_GRADIENTS_FIELD_NUMBER)
    tensors.map("output", Gradients.OUTPUTS_FIELD_NUMBER)
    tensors.map("updated_statistic", Gradients.UPDATED_STATISTICS_FIELD_NUMBER)
    tensors.single("example", "losses", Gradients.EXAMPLE_LOSSES_FIELD_NUMBER)
    tensors.single("example", "norms", Gradients.EXAMPLE_NORMS_FIELD_NUMBER)
    if not as_safetensors:
        tensors.named("gradient", Gradients.TENSORS_FIELD_NUMBER)
    numbers = numbers_of(program), Numbers(parts + nested(Gradients.SUMMARY_FIELD_NUMBER, summary))
    return Form(numbers, tuple(tensors.leads), tuple(tensors.attached), Gradients.TIMING_FIELD_NUMBER)


@kept
def _forward_form(program: Program, *, split: bool) -> Form:
    numbers = None
    if "loss" in program.numbers:
        loss = Slot(program.numbers.index("loss"))
        numbers = numbers_of(program), Numbers(number(Forward.LOSS_FIELD_NUMBER, loss))
    tensors = Tensors(program, split=split)
    tensors.map("output", Forward.OUTPUTS_FIELD_NUMBER)
    return Form(numbers, tuple(tensors.leads), tuple(tensors.attached), Forward.TIMING_FIELD_NUMBER)


def numbers_of(program: Program) -> int:
    """Index of the result that holds the numbers."""
    return next(index for index, one in enumerate(program.results) if one.group == "numbers")


def tensor_spec(spec: ArraySpec | SymbolicSpec) -> tensor_pb2.TensorSpec:
    """Name, type and shape as the contract writes them."""
    dimensions = [
        tensor_pb2.Dimension(symbol=size) if isinstance(size, str) else tensor_pb2.Dimension(size=size)
        for size in spec.shape
    ]
    return tensor_pb2.TensorSpec(name=spec.name, data_type=NUMBERS[np.dtype(spec.dtype)], shape=dimensions)  # type: ignore[arg-type]

"""Jacobian and Hessian products: requests as tasks, results as answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gradserve.v1 import gradient_service_pb2 as service
from gradserve.v1 import tensor_pb2
from gradserve_server.common.errors import Problem, Reason
from gradserve_server.common.specs import Matrix, Program
from gradserve_server.common.unknown_fields import refuse_unknown
from gradserve_server.front.answers import numbers_of
from gradserve_server.front.convert import Task, refuse_unknown_here, task_of
from gradserve_server.front.forms import Form, Numbers, Reply, Slot, Tensors, Times, kept, number
from gradserve_server.front.tensors import Array, read_tensor

Jacobian = service.ComputeJacobianProductResponse
Hessian = service.ComputeHessianProductResponse
_Request = service.ComputeHessianProductRequest

_MATRICES = {
    _Request.MATRIX_UNSPECIFIED: Matrix.HESSIAN,
    _Request.MATRIX_HESSIAN: Matrix.HESSIAN,
    _Request.MATRIX_GAUSS_NEWTON: Matrix.GAUSS_NEWTON,
}


def jacobian_task(request: service.ComputeJacobianProductRequest, most_bytes: int) -> Task:
    """What `request` asks for.

    Raises:
        Problem: something in it is missing, malformed or not served.
    """
    refuse_unknown_here(request, "")
    tangents = _tangents(request.weight_tangents, "weight_tangents")
    tangents |= _tangents(request.input_tangents, "input_tangents")
    return task_of("jacobian_product", request, most_bytes, tangents=tangents)


def hessian_task(request: service.ComputeHessianProductRequest, most_bytes: int) -> Task:
    """What `request` asks for."""
    refuse_unknown_here(request, "")
    if not request.HasField("loss"):
        raise Problem(Reason.MISSING_FIELD, "second derivatives need a loss", field="loss")
    if request.matrix not in _MATRICES:
        refuse_unknown(request, "")
    return task_of(
        "hessian_product",
        request,
        most_bytes,
        tangents=_tangents(request.vector, "vector"),
        matrix=_MATRICES[request.matrix],
    )


def jacobian_answer(program: Program, results: Sequence[Array], task: Task, times: Times, *, split: bool) -> Reply:
    """The answer that the results of a run make; `split` attaches what is large."""
    return _jacobian_form(program, split=split).reply(results, times, task.appendix)


def hessian_answer(program: Program, results: Sequence[Array], task: Task, times: Times, *, split: bool) -> Reply:
    """The answer that the results of a run make; `split` attaches what is large."""
    return _hessian_form(program, split=split).reply(results, times, task.appendix)


def _tangents(message: Mapping[str, tensor_pb2.Tensor], field: str) -> dict[str, Array]:
    """Arrays by place in the request, in order of name."""
    return {f"{field}.{name}": read_tensor(message[name], f"{field}.{name}") for name in sorted(message)}


@kept
def _jacobian_form(program: Program, *, split: bool) -> Form:
    tensors = Tensors(program, split=split)
    tensors.map("output", Jacobian.OUTPUTS_FIELD_NUMBER)
    tensors.map("output_tangent", Jacobian.OUTPUT_TANGENTS_FIELD_NUMBER)
    return Form(None, tuple(tensors.leads), tuple(tensors.attached), Jacobian.TIMING_FIELD_NUMBER)


@kept
def _hessian_form(program: Program, *, split: bool) -> Form:
    loss = Numbers(number(Hessian.LOSS_FIELD_NUMBER, Slot(program.numbers.index("loss"))))
    tensors = Tensors(program, split=split)
    tensors.map("product", Hessian.PRODUCT_FIELD_NUMBER)
    numbers = numbers_of(program), loss
    return Form(numbers, tuple(tensors.leads), tuple(tensors.attached), Hessian.TIMING_FIELD_NUMBER)

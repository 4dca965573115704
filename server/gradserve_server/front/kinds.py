"""The calls that run a program: a row for each."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from google.protobuf.message import Message

from gradserve.v1 import gradient_service_pb2 as service
from gradserve_server.common.specs import Program
from gradserve_server.front import answers, convert, products
from gradserve_server.front.forms import Reply, Times
from gradserve_server.front.tensors import Array
from gradserve_server.front.tracing.answer import trace_answer


class Answering(Protocol):
    """Makes an answer."""

    def __call__(
        self, program: Program, results: Sequence[Array], task: convert.Task, times: Times, /, *, split: bool
    ) -> Reply:
        """The answer that `results` make; with `split`, what is large is attached."""


@dataclasses.dataclass(frozen=True)
class Kind:
    """A call that runs a program.

    Attributes:
        method: its name.
        message: class of its request.
        task: how its request is read, given the largest size of a definition.
        answer: how the answer is made of the results of a run; split where it goes to a stream.
        part: name of its request and of its answer in the messages of a stream.
    """

    method: str
    message: type[Message]
    task: Callable[[Any, int], convert.Task]
    answer: Answering
    part: str


KINDS = (
    Kind(
        "ComputeGradients",
        service.ComputeGradientsRequest,
        convert.gradients_task,
        answers.gradients_answer,
        "compute_gradients",
    ),
    Kind("Forward", service.ForwardRequest, convert.forward_task, answers.forward_answer, "forward"),
    Kind("Trace", service.TraceRequest, convert.trace_task, trace_answer, "trace"),
    Kind(
        "ComputeJacobianProduct",
        service.ComputeJacobianProductRequest,
        products.jacobian_task,
        products.jacobian_answer,
        "compute_jacobian_product",
    ),
    Kind(
        "ComputeHessianProduct",
        service.ComputeHessianProductRequest,
        products.hessian_task,
        products.hessian_answer,
        "compute_hessian_product",
    ),
)

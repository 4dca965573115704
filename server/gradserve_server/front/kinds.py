"""The calls that run a program: a row for each."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from google.protobuf.message import Message

from gradserve.v1 import gradient_service_pb2 as service
from gradserve_server.common.specs import Program
from gradserve_server.front import answers, convert
from gradserve_server.front.encoding import Times
from gradserve_server.front.tensors import Array


@dataclasses.dataclass(frozen=True)
class Kind:
    """A call that runs a program.

    Attributes:
        method: its name.
        message: class of its request.
        task: how its request is read, given the largest size of a definition.
        answer: how the serialized answer is made of the results of a run.
    """

    method: str
    message: type[Message]
    task: Callable[[Any, int], convert.Task]
    answer: Callable[[Program, Sequence[Array], convert.Task, Times], bytes]


KINDS = (
    Kind("ComputeGradients", service.ComputeGradientsRequest, convert.gradients_task, answers.gradients_answer),
    Kind("Forward", service.ForwardRequest, convert.forward_task, answers.forward_answer),
)

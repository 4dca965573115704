"""A `Problem` as a google.rpc.Status."""

from __future__ import annotations

from typing import Any

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

from gradserve_server.common.errors import Problem, shorten

DOMAIN = "gradserve"


def to_status(problem: Problem) -> status_pb2.Status:
    """Code, sentence and details; kept small, since gRPC drops details of many kilobytes."""
    info = error_details_pb2.ErrorInfo(reason=problem.reason.name, domain=DOMAIN)
    for key, value in problem.metadata.items():
        info.metadata[key] = shorten(value, 400)
    details: list[Message] = [info]
    message = shorten(str(problem), 1500)
    if "field" in problem.metadata:
        violation = error_details_pb2.BadRequest.FieldViolation(
            field=problem.metadata["field"], description=shorten(problem.text, 400)
        )
        details.append(error_details_pb2.BadRequest(field_violations=[violation]))
    if problem.retry_seconds is not None:
        delay = duration_pb2.Duration()
        delay.FromNanoseconds(int(problem.retry_seconds * 1e9))
        details.append(error_details_pb2.RetryInfo(retry_delay=delay))
    packed = []
    for detail in details:
        one = any_pb2.Any()
        one.Pack(detail)
        packed.append(one)
    return status_pb2.Status(code=code_pb2.Code.Value(problem.reason.code.value), message=message, details=packed)


def abort(context: grpc.ServicerContext, problem: Problem) -> Any:
    """Ends the call with the problem."""
    context.abort_with_status(rpc_status.to_status(to_status(problem)))

"""A `Problem` as a google.rpc.Status."""

from __future__ import annotations

import itertools
import logging
import uuid
from typing import Any

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

from gradserve_server.common.errors import Problem, Reason

_LOGGER = logging.getLogger("gradserve_server.front")

DOMAIN = "gradserve"
# gRPC drops details at random where all metadata take more than 8 kB. They travel as base64, and the sentence twice:
# in them, and by itself with three characters for each byte that is not plain ASCII.
_MOST_SENTENCE_BYTES = 1500
_MOST_FACT_BYTES = 300
_MOST_FACTS = 12


def to_status(problem: Problem) -> status_pb2.Status:
    """Code, sentence and details; kept small, since gRPC drops details of many kilobytes."""
    info = error_details_pb2.ErrorInfo(reason=problem.reason.name, domain=DOMAIN)
    for key, value in itertools.islice(problem.metadata.items(), _MOST_FACTS):
        info.metadata[key] = cut(value, _MOST_FACT_BYTES)
    details: list[Message] = [info]
    message = cut(str(problem), _MOST_SENTENCE_BYTES, escape=3)
    if "field" in problem.metadata:
        violation = error_details_pb2.BadRequest.FieldViolation(
            field=info.metadata["field"], description=cut(problem.text, _MOST_FACT_BYTES)
        )
        details.append(error_details_pb2.BadRequest(field_violations=[violation]))
    if "missing" in problem.metadata:
        missing = error_details_pb2.PreconditionFailure.Violation(
            type="MISSING", subject=problem.metadata["missing"], description=cut(problem.text, _MOST_FACT_BYTES)
        )
        details.append(error_details_pb2.PreconditionFailure(violations=[missing]))
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


def cut(text: str, limit: int, *, escape: int = 1) -> str:
    """`text` cut to `limit` bytes, where each byte that is not plain ASCII counts `escape` times."""
    size = 0
    end = 0
    for index, letter in enumerate(text):
        size += 1 if " " <= letter <= "~" and letter != "%" else escape * len(letter.encode())
        if size > limit:
            return f"{text[:end]}…"
        if size <= limit - 3 * escape:
            end = index + 1
    return text


def abort(context: grpc.ServicerContext, problem: Problem) -> Any:
    """Ends the call with the problem."""
    context.abort_with_status(rpc_status.to_status(to_status(problem)))


def fault(name: str, error: Exception) -> Problem:
    """Logs the exception; the caller gets a number to ask about, and nothing of the inside."""
    number = uuid.uuid4().hex
    _LOGGER.error("call failed", exc_info=error, extra={"method": name, "request_id": number})
    return Problem(
        Reason.INTERNAL, "the server failed; its log says more under the request's id", metadata={"request_id": number}
    )

"""What becomes of gRPC's errors: exceptions of `gradserve.errors` with the server's details."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

import grpc
from google.protobuf.message import DecodeError, Message
from google.rpc import error_details_pb2, status_pb2

from gradserve.errors import (
    DeadlineExceeded,
    GradserveError,
    InvalidRequest,
    LimitExceeded,
    MissingContent,
    Overloaded,
    PermissionDenied,
    ServerFault,
    Unauthenticated,
    Unavailable,
    Unsupported,
)

DETAILS_KEY = "grpc-status-details-bin"
"""The trailer that holds google.rpc.Status."""

_CLASSES: dict[grpc.StatusCode, type[GradserveError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidRequest,
    grpc.StatusCode.OUT_OF_RANGE: InvalidRequest,
    grpc.StatusCode.NOT_FOUND: InvalidRequest,
    grpc.StatusCode.ALREADY_EXISTS: InvalidRequest,
    grpc.StatusCode.UNIMPLEMENTED: Unsupported,
    grpc.StatusCode.RESOURCE_EXHAUSTED: LimitExceeded,
    grpc.StatusCode.FAILED_PRECONDITION: MissingContent,
    grpc.StatusCode.UNAVAILABLE: Unavailable,
    grpc.StatusCode.ABORTED: Unavailable,
    grpc.StatusCode.CANCELLED: Unavailable,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceeded,
    grpc.StatusCode.UNAUTHENTICATED: Unauthenticated,
    grpc.StatusCode.PERMISSION_DENIED: PermissionDenied,
}
"""All others are `ServerFault`; RESOURCE_EXHAUSTED with a time to come back is `Overloaded`."""

_Detail = TypeVar("_Detail", bound=Message)


def to_error(
    code: grpc.StatusCode,
    text: str | None,
    trailers: Iterable[tuple[str, str | bytes]] | None,
    method: str,
) -> GradserveError:
    """The exception for a call that failed.

    Args:
        code: its status code.
        text: its message.
        trailers: its trailing metadata.
        method: the RPC, for messages that do not come from a server of ours.
    """
    details = _details(trailers)
    retry = _detail(details, error_details_pb2.RetryInfo)
    retry_seconds = None
    if retry is not None:
        retry_seconds = retry.retry_delay.seconds + retry.retry_delay.nanos * 1e-9
    kind = _CLASSES.get(code, ServerFault)
    if kind is LimitExceeded and retry is not None:
        kind = Overloaded
    info = _detail(details, error_details_pb2.ErrorInfo)
    if info is None:
        return kind(_plain(code, text, method), code=code.name, retry_seconds=retry_seconds)
    facts = dict(info.metadata)
    return kind(
        text or info.reason,
        reason=info.reason,
        code=code.name,
        field=facts.get("field") or _violation(details),
        node=facts.get("node", ""),
        given=facts.get("given", ""),
        expected=facts.get("expected", ""),
        hint=facts.get("hint", ""),
        metadata=facts,
        retry_seconds=retry_seconds,
    )


def _details(trailers: Iterable[tuple[str, str | bytes]] | None) -> status_pb2.Status:
    for key, value in trailers or ():
        if key == DETAILS_KEY and isinstance(value, bytes):
            try:
                return status_pb2.Status.FromString(value)
            except DecodeError:
                break
    return status_pb2.Status()


def _detail(status: status_pb2.Status, kind: type[_Detail]) -> _Detail | None:
    for detail in status.details:
        if detail.Is(kind.DESCRIPTOR):
            message = kind()
            try:
                detail.Unpack(message)
            except DecodeError:
                return None
            return message
    return None


def _violation(status: status_pb2.Status) -> str:
    bad_request = _detail(status, error_details_pb2.BadRequest)
    if bad_request is None or not bad_request.field_violations:
        return ""
    return str(bad_request.field_violations[0].field)


def _plain(code: grpc.StatusCode, text: str | None, method: str) -> str:
    """A message for what gRPC itself says, or a server that is not ours."""
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return f"{method}: no answer within the timeout"
    if code is grpc.StatusCode.UNIMPLEMENTED:
        return f"{method}: the server does not know this call ({text}). Is it a gradserve server?"
    return f"{method}: {text or code.name.lower().replace('_', ' ')}"

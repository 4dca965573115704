"""gRPC statuses become exceptions of the tree."""

import grpc
import pytest
from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2, status_pb2

import gradserve as gs
from gradserve.transport.status import DETAILS_KEY, to_error

RETRY = error_details_pb2.RetryInfo(retry_delay=Duration(seconds=1, nanos=500_000_000))
INFO = error_details_pb2.ErrorInfo(
    reason="SHAPE_MISMATCH",
    domain="gradserve",
    metadata={
        "field": "batch.x",
        "node": "dense_1",
        "given": "[3]",
        "expected": "[4]",
        "hint": "Transpose it.",
        "limit_bytes": "7",
    },
)


def trailers(*details):
    status = status_pb2.Status(code=3, message="m")
    for detail in details:
        packed = Any()
        packed.Pack(detail)
        status.details.append(packed)
    return [("other", "x"), (DETAILS_KEY, status.SerializeToString())]


EXPECTED = {
    grpc.StatusCode.INVALID_ARGUMENT: gs.InvalidRequest,
    grpc.StatusCode.UNIMPLEMENTED: gs.Unsupported,
    grpc.StatusCode.RESOURCE_EXHAUSTED: gs.LimitExceeded,
    grpc.StatusCode.FAILED_PRECONDITION: gs.MissingContent,
    grpc.StatusCode.UNAVAILABLE: gs.Unavailable,
    grpc.StatusCode.DEADLINE_EXCEEDED: gs.DeadlineExceeded,
    grpc.StatusCode.UNAUTHENTICATED: gs.Unauthenticated,
    grpc.StatusCode.PERMISSION_DENIED: gs.PermissionDenied,
    grpc.StatusCode.INTERNAL: gs.ServerFault,
    grpc.StatusCode.UNKNOWN: gs.ServerFault,
    grpc.StatusCode.DATA_LOSS: gs.ServerFault,
    grpc.StatusCode.OUT_OF_RANGE: gs.InvalidRequest,
    grpc.StatusCode.NOT_FOUND: gs.InvalidRequest,
    grpc.StatusCode.ALREADY_EXISTS: gs.InvalidRequest,
    grpc.StatusCode.ABORTED: gs.Unavailable,
    grpc.StatusCode.CANCELLED: gs.Unavailable,
}


def test_every_code_but_ok_has_a_class():
    assert set(EXPECTED) == set(grpc.StatusCode) - {grpc.StatusCode.OK}


@pytest.mark.parametrize(("code", "kind"), EXPECTED.items())
def test_codes_become_classes_with_their_details(code, kind):
    error = to_error(code, "the message", trailers(INFO), "ComputeGradients")
    assert type(error) is kind
    assert str(error) == "the message"
    assert (error.code, error.reason) == (code.name, "SHAPE_MISMATCH")
    assert (error.field, error.node, error.given) == ("batch.x", "dense_1", "[3]")
    assert (error.expected, error.hint) == ("[4]", "Transpose it.")
    assert error.metadata["limit_bytes"] == "7"
    assert error.retry_seconds is None


def test_exhausted_resources_with_a_time_to_come_back_are_overload():
    exhausted = grpc.StatusCode.RESOURCE_EXHAUSTED
    error = to_error(exhausted, "busy", trailers(INFO, RETRY), "Forward")
    assert type(error) is gs.Overloaded
    assert error.retry_seconds == 1.5
    assert to_error(exhausted, "big", trailers(INFO), "Forward").retry_seconds is None


def test_the_field_comes_from_bad_request_where_the_metadata_has_none():
    bad_request = error_details_pb2.BadRequest(
        field_violations=[error_details_pb2.BadRequest.FieldViolation(field="loss.target")]
    )
    info = error_details_pb2.ErrorInfo(reason="R")
    error = to_error(grpc.StatusCode.INVALID_ARGUMENT, "m", trailers(info, bad_request), "Forward")
    assert error.field == "loss.target"


@pytest.mark.parametrize("broken", [None, [], [(DETAILS_KEY, b"\xff\xff")], [("other", "x")]])
@pytest.mark.parametrize(
    ("code", "text", "message"),
    [
        (grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded", "no answer within the timeout"),
        (grpc.StatusCode.UNIMPLEMENTED, "Method not found!", "Is it a gradserve server"),
        (grpc.StatusCode.UNAVAILABLE, "connection refused", "connection refused"),
        (grpc.StatusCode.PERMISSION_DENIED, "", "permission denied"),
    ],
)
def test_what_others_say_is_told_with_the_call(code, text, message, broken):
    error = to_error(code, text, broken, "Forward")
    assert type(error) is EXPECTED[code]
    assert str(error).startswith("Forward: ")
    assert message in str(error)

"""A problem on the wire: its code and details, always small enough to arrive."""

from __future__ import annotations

import base64
import urllib.parse

import pytest
from google.rpc import code_pb2, error_details_pb2

from gradserve_server.common.errors import Problem, Reason
from gradserve_server.front.status import cut, to_status


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_has_its_code_and_its_details(reason: Reason) -> None:
    problem = Problem(reason, "it is wrong", field="batch.x", given="1", expected="2", metadata={"limit_bytes": "7"})
    status = to_status(problem)
    assert code_pb2.Code.Name(status.code) == reason.code.value
    assert status.message == "batch.x: it is wrong: given 1, expected 2"
    info, request = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    assert len(status.details) == 2
    assert status.details[0].Unpack(info)
    assert (info.reason, info.domain) == (reason.name, "gradserve")
    assert dict(info.metadata) == {"field": "batch.x", "given": "1", "expected": "2", "limit_bytes": "7"}
    assert status.details[1].Unpack(request)
    (violation,) = request.field_violations
    assert (violation.field, violation.description) == ("batch.x", "it is wrong")


def test_when_to_try_again_is_told_where_waiting_helps() -> None:
    status = to_status(Problem(Reason.OVERLOADED, "full", retry_seconds=1.5))
    delay = error_details_pb2.RetryInfo()
    assert status.details[1].Unpack(delay)
    assert delay.retry_delay.ToTimedelta().total_seconds() == 1.5


@pytest.mark.parametrize("letter", ["a", "%", "\n", "é", "語", "\U0001f600"])
def test_metadata_stay_below_what_grpc_delivers(letter: str) -> None:
    long = letter * 5000
    facts = dict.fromkeys(("field", "node", "given", "expected", "hint"), long)
    status = to_status(Problem(Reason.UNKNOWN_NAME, long, retry_seconds=1, metadata=facts))
    details = len(base64.b64encode(status.SerializeToString()))
    sentence = len(urllib.parse.quote(status.message, safe=" !\"#$&'()*+,/:;<=>?@[\\]^`{|}"))
    assert details + sentence < 8000


@pytest.mark.parametrize("letter", ["a", "é", "\U0001f600"])
def test_a_cut_text_keeps_its_beginning(letter: str) -> None:
    text = letter * 100
    assert cut(text, len(text.encode())) == text
    short = cut(text, 50)
    assert len(short.encode()) <= 50
    assert text.startswith(short.removesuffix("…"))
    assert len(short.encode()) >= 44

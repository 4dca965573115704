import logging
import mmap

import msgspec
import pytest

from gradserve_server.common.errors import ProblemData
from gradserve_server.common.specs import Limits
from gradserve_server.compute.executor import Executor
from gradserve_server.worker.child import Answers
from gradserve_server.worker.lanes import InitializeRequest, Kind, RunRequest, encode


@pytest.fixture(scope="module")
def answers():
    with mmap.mmap(-1, 4096) as memory:
        yield Answers(Executor(Limits()), memory, 4)


def test_a_fault_of_ours_is_logged_and_not_told(answers, caplog):
    with caplog.at_level(logging.ERROR, "gradserve_server.worker.child"):
        kind, body = answers.answer(Kind.RUN, memoryview(b"no request"))
    assert kind is Kind.PROBLEM
    problem = msgspec.msgpack.decode(body, type=ProblemData)
    assert problem.reason == "INTERNAL"
    assert "Error" not in problem.message
    assert problem.metadata == {}
    assert caplog.records[0].exc_info is not None


def test_a_fault_of_the_caller_is_told_and_not_logged(answers, caplog):
    body = encode(InitializeRequest("graph", b"\xff", 0))
    kind, body = answers.answer(Kind.INITIALIZE, memoryview(body))
    assert kind is Kind.PROBLEM
    assert msgspec.msgpack.decode(body, type=ProblemData).reason == "MALFORMED_NETWORK"
    assert caplog.records == []


def test_a_program_that_is_not_held_is_missing(answers):
    body = encode(RunRequest(b"unknown", 0, 0, 0))
    assert answers.answer(Kind.RUN, memoryview(body)) == (Kind.MISSING, b"")

"""The client on a real socket: retries, errors, timeouts, threads, compilation."""

import logging
import re
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import pytest
from google.rpc import error_details_pb2

import gradserve as gs
from tests.unit.client.scripted_server import (
    ANSWER,
    FORWARD,
    answer,
    compiling,
    fail,
    never,
    retry_after,
    serving,
)

QUICK = gs.RetryPolicy(first_wait=0.01)
NET = gs.sequential(gs.dense(2), x=("batch", 3))
BATCH = {"x": np.ones((4, 3), np.float32)}
DRAINING = error_details_pb2.ErrorInfo(reason="DRAINING", domain="gradserve")
UNAVAILABLE = fail(grpc.StatusCode.UNAVAILABLE, "draining", DRAINING)
INFO = error_details_pb2.ErrorInfo(
    reason="SHAPE_MISMATCH", domain="gradserve", metadata={"field": "batch.x", "given": "[3]"}
)
BUSY = error_details_pb2.ErrorInfo(reason="OVERLOADED", domain="gradserve")


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def test_a_call_over_tcp_and_over_a_unix_socket(tmp_path):
    for address in ("127.0.0.1:0", f"unix:{tmp_path / 's'}"):
        with serving(answer(ANSWER), address=address) as server, gs.Client(server.address) as c:
            assert c.server_info().version == "scripted"


def test_unavailable_is_tried_again():
    with (
        serving(UNAVAILABLE, UNAVAILABLE, answer(ANSWER)) as server,
        gs.Client(server.address, retry=QUICK) as client,
    ):
        assert client.server_info().version == "scripted"
        assert len(server.requests) == 3


def test_attempts_are_bounded():
    with serving(UNAVAILABLE) as server, gs.Client(server.address, retry=QUICK) as client:
        with pytest.raises(gs.Unavailable, match="draining"):
            client.server_info()
        assert len(server.requests) == QUICK.attempts


def test_the_server_s_time_to_come_back_is_kept():
    busy = fail(grpc.StatusCode.RESOURCE_EXHAUSTED, "busy", BUSY, retry_after(0.3))
    with (
        serving(busy, answer(ANSWER)) as server,
        gs.Client(server.address, retry=QUICK) as client,
    ):
        start = time.monotonic()
        client.server_info()
        assert time.monotonic() - start >= 0.3
        assert len(server.requests) == 2


def test_a_time_to_come_back_beyond_the_timeout_fails_at_once():
    busy = fail(grpc.StatusCode.RESOURCE_EXHAUSTED, "busy", BUSY, retry_after(20))
    with serving(busy) as server, gs.Client(server.address, timeout=5) as client:
        start = time.monotonic()
        with pytest.raises(gs.Overloaded, match="busy") as caught:
            client.server_info()
        assert time.monotonic() - start < 4
        assert (caught.value.retry_seconds, caught.value.reason) == (20.0, "OVERLOADED")


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (grpc.StatusCode.INVALID_ARGUMENT, gs.InvalidRequest),
        (grpc.StatusCode.UNIMPLEMENTED, gs.Unsupported),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, gs.LimitExceeded),
        (grpc.StatusCode.FAILED_PRECONDITION, gs.MissingContent),
        (grpc.StatusCode.UNAUTHENTICATED, gs.Unauthenticated),
        (grpc.StatusCode.PERMISSION_DENIED, gs.PermissionDenied),
        (grpc.StatusCode.INTERNAL, gs.ServerFault),
    ],
)
def test_what_the_server_refuses_is_raised_with_its_details_and_not_tried_again(code, kind):
    with (
        serving(fail(code, "batch.x: no", INFO)) as server,
        gs.Client(server.address) as client,
    ):
        with pytest.raises(kind, match=r"^batch\.x: no$") as caught:
            client.forward(NET, gs.seeded(0), BATCH)
        assert (caught.value.field, caught.value.given) == ("batch.x", "[3]")
        assert len(server.requests) == 1
        assert not isinstance(caught.value.__cause__, grpc.RpcError)
        assert caught.value.__context__ is None or caught.value.__suppress_context__


def test_a_call_ends_at_its_timeout():
    with serving(never()) as server, gs.Client(server.address, timeout=30) as client:
        start = time.monotonic()
        with pytest.raises(gs.DeadlineExceeded, match=r"Forward: .*timeout"):
            client.forward(NET, gs.seeded(0), BATCH, timeout=0.3)
        with pytest.raises(gs.DeadlineExceeded):
            client.server_info(timeout=0.3)
        assert time.monotonic() - start < 5


def test_the_timeout_holds_over_all_attempts():
    patient = gs.RetryPolicy(attempts=1000, first_wait=0.05, factor=1.0)
    with serving(UNAVAILABLE) as server, gs.Client(server.address, retry=patient) as client:
        start = time.monotonic()
        with pytest.raises(gs.Unavailable):
            client.server_info(timeout=0.5)
        assert time.monotonic() - start < 3


def test_an_address_where_nobody_listens_is_unavailable_within_seconds():
    address = f"127.0.0.1:{free_port()}"
    with gs.Client(address, connect_timeout=0.5) as client:
        start = time.monotonic()
        with pytest.raises(gs.Unavailable, match=f"no answer from {re.escape(address)} .*refused"):
            client.server_info()
        assert time.monotonic() - start < 3


def test_a_server_that_comes_up_late_is_waited_for():
    address = f"127.0.0.1:{free_port()}"
    with ThreadPoolExecutor(1) as pool, gs.Client(address, connect_timeout=10) as client:
        call = pool.submit(client.server_info)
        time.sleep(0.5)
        with serving(answer(ANSWER), address=address):
            assert call.result(20).version == "scripted"


def test_a_server_that_restarts_is_found_again():
    address = f"127.0.0.1:{free_port()}"
    with gs.Client(address, retry=QUICK, connect_timeout=10) as client:
        for _ in range(2):
            with serving(answer(ANSWER), address=address):
                assert client.server_info().version == "scripted"


@pytest.mark.parametrize("address", ["localhost", "", "http://localhost:80", 50051])
def test_what_is_no_address_is_refused(address):
    with pytest.raises(gs.InvalidRequest, match="host:port"):
        gs.Client(address)


def test_a_token_is_sent_with_each_call():
    with serving(answer(ANSWER)) as server, gs.Client(server.address, token="secret") as client:
        client.server_info()
        assert server.metadata[-1]["authorization"] == "Bearer secret"
        assert "secret" not in repr(client)
        assert "secret" not in repr(client._settings)


def test_threads_share_one_client():
    def echo(request, _context):
        time.sleep(0.001)
        return FORWARD

    with serving(echo) as server, gs.Client(server.address) as client:

        def work(index):
            batch = {"x": np.full((1 + index % 4, 3), index, np.float32)}
            return client.forward(NET, gs.seeded(index), batch).loss

        with ThreadPoolExecutor(8) as pool:
            assert list(pool.map(work, range(200))) == [1.0] * 200
        assert len(server.requests) == 200


def test_large_messages_pass_both_ways():
    big = {"x": np.zeros((8 << 20,), np.float32)}
    with (
        serving(lambda request, _context: b"\x0a" + b"\x80\x80\x80\x10" + b"\0" * (32 << 20)) as server,
        gs.Client(server.address) as client,
    ):
        with pytest.raises(gs.ServerFault):  # 32 MiB of zeros are no answer, but they arrive
            client.forward(NET, gs.seeded(0), big)
        assert len(server.requests[0]) > 32 << 20


def test_a_first_call_tells_that_the_server_compiles_while_it_does(caplog):
    notices = []
    ended = threading.Event()

    def on_compile():
        notices.append(ended.is_set())

    with (
        serving(compiling(FORWARD, 0.3)) as server,
        gs.Client(server.address, on_compile=on_compile) as client,
        caplog.at_level(logging.INFO, "gradserve"),
    ):
        client.forward(NET, gs.seeded(0), BATCH)
        ended.set()
        # Seen before: other values, same shapes.
        client.forward(NET, gs.seeded(1), {"x": np.zeros((4, 3), np.float32)})
        # Another batch size: another program.
        client.forward(NET, gs.seeded(0), {"x": np.zeros((5, 3), np.float32)})
    assert notices == [False, True]
    assert caplog.messages.count(caplog.messages[0]) == 2
    assert caplog.messages[0].startswith("the server is compiling")


def test_a_first_call_that_compiles_nothing_says_nothing(caplog):
    with (
        serving(answer(FORWARD)) as server,
        gs.Client(server.address) as client,
        caplog.at_level(logging.INFO, "gradserve"),
    ):
        client.forward(NET, gs.seeded(0), BATCH)
    assert caplog.messages == []


def test_a_failed_first_call_is_a_first_call_again():
    notices = []
    with (
        serving(UNAVAILABLE, compiling(FORWARD, 0)) as server,
        gs.Client(server.address, retry=QUICK, on_compile=lambda: notices.append(1)) as client,
    ):
        client.forward(NET, gs.seeded(0), BATCH)
    assert notices == [1]


def test_an_error_of_the_callback_ends_the_call():
    def on_compile():
        raise RuntimeError("of the caller")

    with (
        serving(compiling(FORWARD, 0)) as server,
        gs.Client(server.address, on_compile=on_compile) as client,
        pytest.raises(RuntimeError, match="of the caller"),
    ):
        client.forward(NET, gs.seeded(0), BATCH)


@pytest.mark.parametrize("first", [True, False])
def test_closing_ends_calls_in_other_threads(first):
    with serving(answer(FORWARD), never()) as server, ThreadPoolExecutor(1) as pool:
        client = gs.Client(server.address)
        client.forward(NET, gs.seeded(0), BATCH)
        rows = 5 if first else 4  # seen before or not
        call = pool.submit(client.forward, NET, gs.seeded(0), {"x": np.zeros((rows, 3), "f4")})
        while len(server.requests) < 2:
            time.sleep(0.01)
        client.close()
        with pytest.raises(gs.ClientClosed):
            call.result(10)


def test_a_closed_client_says_so():
    with serving(answer(ANSWER)) as server:
        client = gs.Client(server.address)
        client.server_info()
        client.close()
        client.close()
        with pytest.raises(gs.ClientClosed, match="closed"):
            client.server_info()
        with pytest.raises(gs.ClientClosed, match="closed"):
            client.forward(NET, gs.seeded(0), BATCH)
    unused = gs.Client("127.0.0.1:1")
    unused.close()
    with pytest.raises(gs.ClientClosed):
        unused.server_info()
    assert repr(unused) == "Client('127.0.0.1:1', closed)"


def test_what_answers_but_is_no_gradserve_server():
    unimplemented = fail(grpc.StatusCode.UNIMPLEMENTED, "Method not found!")
    with (
        serving(unimplemented) as server,
        gs.Client(server.address) as client,
        pytest.raises(gs.Unsupported, match="Is it a gradserve server"),
    ):
        client.server_info()

"""A raw gRPC echo in a process of its own: what the wire costs for so many bytes up and down.

Run as a program it serves until its standard input ends: `python -m tests.benchmarks.echo BYTES_DOWN`.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import grpc

import gradserve as gs

METHOD = "/echo.Echo/Echo"
CHUNKS = "/echo.Echo/Chunks"
CHUNK_BYTES = 1 << 20
OPTIONS = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]


def serve(bytes_down: int) -> None:
    """Answers each request with that many bytes, of no pattern: pages of zeros would all be one page.

    As one message; or, once all messages of a request are here, as chunks.
    """
    answer = os.urandom(min(bytes_down, 4 * CHUNK_BYTES))
    answer = (answer * -(-bytes_down // max(1, len(answer))))[:bytes_down]

    def chunks(requests: Iterator[bytes], _context: Any) -> Iterator[bytes]:
        for _ in requests:
            pass
        for place in range(0, bytes_down, CHUNK_BYTES):
            yield answer[place : place + CHUNK_BYTES]

    handler = grpc.method_handlers_generic_handler(
        "echo.Echo",
        {
            "Echo": grpc.unary_unary_rpc_method_handler(lambda _request, _context: answer),
            "Chunks": grpc.stream_stream_rpc_method_handler(chunks),
        },
    )
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(16), handlers=[handler], options=OPTIONS)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(port, flush=True)
    sys.stdin.read()
    server.stop(0).wait()


@contextlib.contextmanager
def echo(request: bytes, bytes_down: int) -> Iterator[Callable[[], Any]]:
    """A function that sends `request` and waits for `bytes_down`."""
    with _channel(bytes_down) as channel:
        call = channel.unary_unary(METHOD)
        yield lambda: call(request)


@contextlib.contextmanager
def chunk_echo(bytes_up: int, bytes_down: int) -> Iterator[Callable[[], Any]]:
    """A function that sends `bytes_up` as chunks over a stream, and waits for `bytes_down` as chunks."""
    chunk = os.urandom(CHUNK_BYTES)
    up = [chunk] * (bytes_up // CHUNK_BYTES) + [chunk[: bytes_up % CHUNK_BYTES]]

    with _channel(bytes_down) as channel:
        method = channel.stream_stream(CHUNKS)

        def call() -> None:
            assert sum(len(piece) for piece in method(iter(up))) == bytes_down

        yield call


@contextlib.contextmanager
def _channel(bytes_down: int) -> Iterator[grpc.Channel]:
    with echo_server(bytes_down) as address, grpc.insecure_channel(address, options=OPTIONS) as channel:
        yield channel


@contextlib.contextmanager
def echo_server(bytes_down: int) -> Iterator[str]:
    """The address of a server in a process of its own that answers with so many bytes."""
    command = [sys.executable, "-m", "tests.benchmarks.echo", str(bytes_down)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        yield f"127.0.0.1:{int(process.stdout.readline())}"
        process.stdin.close()


if __name__ == "__main__":
    gs.keep_freed_memory()
    serve(int(sys.argv[1]))

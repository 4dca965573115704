"""The connection of a client for asyncio: as `connection`, in one event loop."""

# `timeout` means what it means to `Client`: retries are within it, and the server is told.
# ruff: noqa: ASYNC109

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar, final

import grpc
import grpc.aio

from gradserve.errors import ClientClosed, GradserveError, MissingContent
from gradserve.held import HeldWeights, committed_bytes, upload_requests
from gradserve.network import Network
from gradserve.requests import Call, Streamed, with_content
from gradserve.transport.attempts import Attempts
from gradserve.transport.channel import (
    ARTIFACTS,
    SERVICE,
    Seen,
    Settings,
    announce_compilation,
    announce_long_wait,
    open_channel,
)
from gradserve.transport.status import to_error
from gradserve.transport.stream import Stream, StreamsUnknown, first_patience

Answer = TypeVar("Answer")


@final
class AsyncConnection:
    """A channel to a server, made at the first call: it belongs to the event loop that it was made in.

    Large calls go over the stream that threads have, on a channel of its own: so nothing large is copied in the event
    loop.

    Args:
        settings: the client's.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._metadata = settings.metadata
        self._methods: dict[str, grpc.aio.UnaryUnaryMultiCallable[Any, Any]] = {}
        self._seen = Seen()
        self._holds = Seen()
        self._channel: grpc.aio.Channel | None = None
        self._stream: tuple[Stream, grpc.Channel] | None = None
        self._has_streams = True
        self._closed = False

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    def holds(self, network: Network) -> bool:
        """Whether the server was sent this network before."""
        return self._holds.knows(network)

    async def close(self) -> None:
        """Ends the connection; calls of other tasks end as `ClientClosed`. Can be repeated."""
        self._closed = True
        if self._stream is not None:
            stream, channel = self._stream
            stream.close()
            channel.close()
        if self._channel is not None:
            await self._channel.close()

    async def put(self, held: HeldWeights, timeout: float | None) -> None:
        """As `Connection.put`."""
        attempts = Attempts(self._settings, timeout)
        while True:
            try:
                there = await self._upload(held, None, attempts.remaining())
                if there < held.size_bytes:
                    await self._upload(held, there, attempts.remaining())
                return
            except GradserveError as error:
                wait = attempts.wait_after(error)
            await asyncio.sleep(wait)

    async def run(self, call: Call[Answer], timeout: float | None) -> Answer:
        """As `Connection.run`."""
        attempts = Attempts(self._settings, timeout)
        while True:
            try:
                if call.streamed is not None and self._has_streams:
                    answer = await self._attempt_streamed(call, call.streamed, attempts.remaining())
                else:
                    answer = call.read(await self._attempt(call, attempts.remaining()))
                if call.network is not None:
                    self._holds.add(call.network)
                return answer
            except StreamsUnknown:
                self._has_streams = False
                continue
            except MissingContent as error:
                call = with_content(call, error)
                continue
            except GradserveError as error:
                wait = attempts.wait_after(error)
            await asyncio.sleep(wait)

    async def _attempt_streamed(
        self, call: Call[Answer], streamed: Callable[[], Streamed[Answer]], timeout: float | None
    ) -> Answer:
        """As `Connection._attempt_streamed`."""
        if self._closed:
            raise self._closed_error()
        loop, done = asyncio.get_running_loop(), asyncio.Event()

        def tell() -> None:
            # The loop is gone if whoever waited is.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(done.set)

        asked = self._opened_stream().begin(streamed(), call.method, timeout, tell)
        patience = first_patience(timeout)
        try:
            if not await _within(done, patience):
                if not self._seen.knows(call.signature):
                    announce_long_wait(self._settings.on_compile)
                if not await _within(done, None if timeout is None else timeout - patience):
                    raise asked.overdue()
        except asyncio.CancelledError:
            asked.cancel()
            raise
        answer = asked.result()
        self._seen.add(call.signature)
        return answer

    async def _attempt(self, call: Call[Any], timeout: float | None) -> bytes:
        """Sends the call once.

        Raises:
            GradserveError: it failed.
        """

        async def send() -> bytes:
            sent = self._method(call.method)(call.message, timeout=timeout, metadata=self._metadata)
            if not self._seen.knows(call.signature):
                announce_compilation(await sent.initial_metadata(), self._settings.on_compile)
            return bytes(await sent)

        answer = await self._answered(send(), call.method)
        self._seen.add(call.signature)
        return answer

    async def _upload(self, held: HeldWeights, offset: int | None, timeout: float | None) -> int:
        """As `Connection._upload`."""

        async def send() -> bytes:
            method: grpc.aio.StreamUnaryMultiCallable[Any, Any] = self._open().stream_unary(ARTIFACTS + "Upload")
            return bytes(await method(upload_requests(held, offset), timeout=timeout, metadata=self._metadata))

        return committed_bytes(await self._answered(send(), "Upload"))

    async def _answered(self, sent: Coroutine[Any, Any, bytes], method: str) -> bytes:
        """What the server answers.

        Raises:
            GradserveError: it failed.
        """
        if self._closed:
            sent.close()
            raise self._closed_error()
        try:
            return await sent
        except grpc.aio.AioRpcError as error:
            problem = to_error(error.code(), error.details(), error.trailing_metadata(), method)
        except (asyncio.CancelledError, grpc.aio.UsageError):
            if not self._ended_by_close():
                raise
            problem = self._closed_error()
        raise problem

    def _method(self, name: str) -> grpc.aio.UnaryUnaryMultiCallable[Any, Any]:
        method = self._methods.get(name)
        if method is None:
            # No serializers: requests and answers are bytes here.
            method = self._methods[name] = self._open().unary_unary(SERVICE + name)
        return method

    def _open(self) -> grpc.aio.Channel:
        if self._channel is None:
            settings = self._settings
            if settings.credentials is None:
                self._channel = grpc.aio.insecure_channel(settings.address, settings.options)
            else:
                self._channel = grpc.aio.secure_channel(settings.address, settings.credentials, settings.options)
        return self._channel

    def _opened_stream(self) -> Stream:
        if self._stream is None:
            channel = open_channel(self._settings)
            self._stream = Stream(channel, self._metadata), channel
        return self._stream[0]

    def _ended_by_close(self) -> bool:
        """Whether a call was cancelled by `close`, and not by whoever cancelled this task."""
        task = asyncio.current_task()
        return self._closed and not (task is not None and task.cancelling())

    def _closed_error(self) -> ClientClosed:
        return ClientClosed(f"the client of {self._settings.address} is closed", given=self._settings.address)


async def _within(done: asyncio.Event, seconds: float | None) -> bool:
    """Waits for it; gives whether it came in time."""
    try:
        async with asyncio.timeout(seconds):
            await done.wait()
    except TimeoutError:
        return False
    return True

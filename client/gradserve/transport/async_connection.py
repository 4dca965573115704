"""The connection of a client for asyncio: as `connection`, in one event loop."""

# `timeout` means what it means to `Client`: retries are within it, and the server is told.
# ruff: noqa: ASYNC109

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar, final

import grpc.aio

from gradserve.errors import ClientClosed, GradserveError, MissingContent
from gradserve.held import HeldWeights, committed_bytes, upload_requests
from gradserve.network import Network
from gradserve.requests import Call, with_content
from gradserve.transport.attempts import Attempts
from gradserve.transport.channel import ARTIFACTS, SERVICE, Seen, Settings, announce_compilation
from gradserve.transport.status import to_error

Answer = TypeVar("Answer")


@final
class AsyncConnection:
    """A channel to a server, made at the first call: it belongs to the event loop that it was made in.

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
                answer = call.read(await self._attempt(call, attempts.remaining()))
                if call.network is not None:
                    self._holds.add(call.network)
                return answer
            except MissingContent as error:
                call = with_content(call, error)
                continue
            except GradserveError as error:
                wait = attempts.wait_after(error)
            await asyncio.sleep(wait)

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

    def _ended_by_close(self) -> bool:
        """Whether a call was cancelled by `close`, and not by whoever cancelled this task."""
        task = asyncio.current_task()
        return self._closed and not (task is not None and task.cancelling())

    def _closed_error(self) -> ClientClosed:
        return ClientClosed(f"the client of {self._settings.address} is closed", given=self._settings.address)

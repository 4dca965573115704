"""The connection of a client for threads: sends calls, again where that may help."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar, cast, final

import grpc

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
from gradserve.transport.stream import Stream, StreamsUnknown

Answer = TypeVar("Answer")


@final
class Connection:
    """A channel and a stream to a server. Thread-safe.

    Args:
        settings: the client's.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._channel = open_channel(settings)
        self._metadata = settings.metadata
        self._methods: dict[str, grpc.UnaryUnaryMultiCallable[Any, Any]] = {}
        self._seen = Seen()
        self._holds = Seen()
        self._stream = Stream(self._channel, self._metadata)
        self._has_streams = True
        self._closed = False

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    def holds(self, network: Network) -> bool:
        """Whether the server was sent this network before."""
        return self._holds.knows(network)

    def close(self) -> None:
        """Ends the connection; calls in other threads end as `ClientClosed`. Can be repeated."""
        self._closed = True
        self._stream.close()
        self._channel.close()

    def put(self, held: HeldWeights, timeout: float | None) -> None:
        """Uploads what the server does not hold of these weights.

        Raises:
            GradserveError: the subclass says what to do about it.
        """
        attempts = Attempts(self._settings, timeout)
        while True:
            try:
                there = self._upload(held, None, attempts.remaining())
                if there < held.size_bytes:
                    self._upload(held, there, attempts.remaining())
                return
            except GradserveError as error:
                wait = attempts.wait_after(error)
            time.sleep(wait)

    def run(self, call: Call[Answer], timeout: float | None) -> Answer:
        """The answer to a call.

        Raises:
            GradserveError: the subclass says what to do about it.
        """
        attempts = Attempts(self._settings, timeout)
        while True:
            try:
                if call.streamed is not None and self._has_streams:
                    answer = self._attempt_streamed(call, call.streamed, attempts.remaining())
                else:
                    answer = call.read(self._attempt(call, attempts.remaining()))
                if call.network is not None:
                    self._holds.add(call.network)
                return answer
            except StreamsUnknown:
                self._has_streams = False
                continue
            except MissingContent as error:
                # Sent along, it reaches the replica that answers, whichever that is.
                call = with_content(call, error)
                continue
            except GradserveError as error:
                wait = attempts.wait_after(error)
            time.sleep(wait)

    def _attempt_streamed(
        self, call: Call[Answer], streamed: Callable[[], Streamed[Answer]], timeout: float | None
    ) -> Answer:
        """Sends the call once over the stream.

        Raises:
            StreamsUnknown: the server has none.
            GradserveError: it failed.
        """
        if self._closed:
            raise self._closed_error()
        announce = None
        if not self._seen.knows(call.signature):
            announce = partial(announce_long_wait, self._settings.on_compile)
        answer = self._stream.ask(streamed(), call.method, timeout, announce)
        self._seen.add(call.signature)
        return answer

    def _upload(self, held: HeldWeights, offset: int | None, timeout: float | None) -> int:
        """Sends weights from a byte on, or asks where to start. Tells how many bytes the server has.

        Raises:
            GradserveError: it failed.
        """
        if self._closed:
            raise self._closed_error()
        try:
            method: grpc.StreamUnaryMultiCallable[Any, Any] = self._channel.stream_unary(ARTIFACTS + "Upload")
            answer = method(upload_requests(held, offset), timeout=timeout, metadata=self._metadata)
        except grpc.RpcError as error:
            problem = self._problem(error, "Upload")
        except (ValueError, grpc.FutureCancelledError):
            problem = self._closed_error()
        else:
            return committed_bytes(answer)
        raise problem

    def _attempt(self, call: Call[Any], timeout: float | None) -> bytes:
        """Sends the call once.

        Raises:
            GradserveError: it failed.
        """
        if self._closed:
            raise self._closed_error()
        method = self._method(call.method)
        try:
            if self._seen.knows(call.signature):
                answer = method(call.message, timeout=timeout, metadata=self._metadata)
            else:
                answer = self._attempt_new(call, method, timeout)
        except grpc.RpcError as error:
            problem = self._problem(error, call.method)
        except (ValueError, grpc.FutureCancelledError):
            # What gRPC raises for calls on a channel that is closed, and only then.
            problem = self._closed_error()
        else:
            return bytes(answer)
        raise problem

    def _attempt_new(
        self,
        call: Call[Any],
        method: grpc.UnaryUnaryMultiCallable[Any, Any],
        timeout: float | None,
    ) -> Any:
        """Sends a call that may have to wait for a compilation, and tells if it does."""
        future = method.future(call.message, timeout=timeout, metadata=self._metadata)
        try:
            announce_compilation(future.initial_metadata(), self._settings.on_compile)
            answer = future.result()
        except BaseException:
            future.cancel()
            raise
        self._seen.add(call.signature)
        return answer

    def _method(self, name: str) -> grpc.UnaryUnaryMultiCallable[Any, Any]:
        method = self._methods.get(name)
        if method is None:
            # No serializers: requests and answers are bytes here.
            method = self._methods[name] = self._channel.unary_unary(SERVICE + name)
        return method

    def _problem(self, error: grpc.RpcError, method: str) -> GradserveError:
        failed = _failed(error)
        if self._closed and failed.code() is grpc.StatusCode.CANCELLED:
            return self._closed_error()
        return to_error(failed.code(), failed.details(), failed.trailing_metadata(), method)

    def _closed_error(self) -> ClientClosed:
        return ClientClosed(f"the client of {self._settings.address} is closed", given=self._settings.address)


def _failed(error: grpc.RpcError) -> grpc.Call:
    """What gRPC raises is the failed call as well, which its types do not tell."""
    return cast("grpc.Call", error)

"""The client for asyncio: the same calls as coroutines."""

# `timeout` means what it means to `Client`: retries are within it, and the server is told.
# ruff: noqa: ASYNC109

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping
from types import TracebackType
from typing import Any, Self, TypeVar, final

import grpc
import grpc.aio

from gradserve import requests
from gradserve.checking import GradientCheck, gradient_check
from gradserve.errors import ClientClosed, GradserveError, MissingContent
from gradserve.held import HeldWeights, committed_bytes, hold, upload_requests
from gradserve.losses import Loss
from gradserve.network import Network
from gradserve.requests import Call, Checkpointing, Matrix, Mode, Precision, with_content
from gradserve.results import (
    ForwardResult,
    GradientResult,
    HessianProduct,
    JacobianProduct,
    NetworkDescription,
    ServerInfo,
)
from gradserve.tensors import Array, ArrayLike, DTypeLike
from gradserve.traces import TraceResult
from gradserve.transport.attempts import Attempts
from gradserve.transport.channel import ARTIFACTS, SERVICE, Seen, Settings, announce_compilation
from gradserve.transport.retry import RetryPolicy
from gradserve.transport.status import to_error
from gradserve.weights import Weights

Answer = TypeVar("Answer")


@final
class AsyncClient:
    """A connection to a gradserve server for one event loop; otherwise as `Client`.

    Example:
        >>> async with gs.AsyncClient("grad.example:50051") as client:
        ...     results = await asyncio.gather(*(
        ...         client.gradients(net, weights, batch, loss=loss) for batch in batches))

    Args:
        address: as for `Client`, and so are the others.
        timeout: seconds that a call may take, retries included.
        connect_timeout: seconds to look for a server that cannot be reached.
        credentials: of `grpc.ssl_channel_credentials`.
        token: sent as ``authorization: Bearer <token>``.
        retry: when failed calls are tried again.
        on_compile: called (in the event loop) when the server says that it is compiling.

    Raises:
        InvalidRequest: the address is none.
    """

    def __init__(
        self,
        address: str,
        *,
        timeout: float | None = None,
        connect_timeout: float = 5.0,
        credentials: grpc.ChannelCredentials | None = None,
        token: str | None = None,
        retry: RetryPolicy | None = None,
        on_compile: Callable[[], None] | None = None,
    ) -> None:
        self._settings = Settings(
            address,
            timeout,
            connect_timeout,
            credentials,
            token,
            retry or RetryPolicy(),
            on_compile,
        )
        self._metadata = self._settings.metadata
        self._methods: dict[str, grpc.aio.UnaryUnaryMultiCallable[Any, Any]] = {}
        self._seen = Seen()
        self._holds = Seen()
        # Made at the first call: a channel belongs to the event loop it was made in.
        self._channel: grpc.aio.Channel | None = None
        self._closed = False

    @property
    def address(self) -> str:
        """The server's address."""
        return self._settings.address

    async def gradients(
        self,
        network: Network,
        weights: Weights | None,
        batch: Mapping[str, ArrayLike],
        *,
        loss: Loss,
        parameters: Iterable[str] = (),
        inputs: Iterable[str] = (),
        without_parameters: bool = False,
        summary_only: bool = False,
        clip_global_norm: float | None = None,
        per_example: bool = False,
        clip_example_norm: float | None = None,
        example_summary: bool = False,
        dtype: DTypeLike | None = None,
        as_safetensors: bool = False,
        outputs: Iterable[str] = (),
        shared: Iterable[str] = (),
        mode: Mode | None = None,
        seed: int = 0,
        precision: Precision | None = None,
        loss_scale: float | None = None,
        checkpointing: Checkpointing | None = None,
        micro_batches: int | None = None,
        timeout: float | None = None,
    ) -> GradientResult:
        """As `Client.gradients`."""
        call = requests.gradients(
            network,
            weights,
            batch,
            loss=loss,
            parameters=parameters,
            inputs=inputs,
            without_parameters=without_parameters,
            summary_only=summary_only,
            clip_global_norm=clip_global_norm,
            per_example=per_example,
            clip_example_norm=clip_example_norm,
            example_summary=example_summary,
            dtype=dtype,
            as_safetensors=as_safetensors,
            outputs=outputs,
            shared=shared,
            mode=mode,
            seed=seed,
            precision=precision,
            loss_scale=loss_scale,
            checkpointing=checkpointing,
            micro_batches=micro_batches,
            is_held=self._holds.knows,
        )
        return await self._run(call, timeout)

    async def forward(
        self,
        network: Network,
        weights: Weights | None,
        batch: Mapping[str, ArrayLike],
        *,
        loss: Loss | None = None,
        outputs: Iterable[str] = (),
        mode: Mode | None = None,
        seed: int = 0,
        precision: Precision | None = None,
        timeout: float | None = None,
    ) -> ForwardResult:
        """As `Client.forward`."""
        call = requests.forward(
            network,
            weights,
            batch,
            loss=loss,
            outputs=outputs,
            mode=mode,
            seed=seed,
            precision=precision,
            is_held=self._holds.knows,
        )
        return await self._run(call, timeout)

    async def trace(
        self,
        network: Network,
        weights: Weights | None,
        batch: Mapping[str, ArrayLike],
        *,
        loss: Loss,
        whole_tensors_up_to: int = 64,
        names: Iterable[str] = (),
        mode: Mode | None = None,
        seed: int = 0,
        precision: Precision | None = None,
        loss_scale: float | None = None,
        timeout: float | None = None,
    ) -> TraceResult:
        """As `Client.trace`."""
        call = requests.trace(
            network,
            weights,
            batch,
            loss=loss,
            whole_tensors_up_to=whole_tensors_up_to,
            names=names,
            mode=mode,
            seed=seed,
            precision=precision,
            is_held=self._holds.knows,
            loss_scale=loss_scale,
        )
        return await self._run(call, timeout)

    async def jacobian_product(
        self,
        network: Network,
        weights: Weights | None,
        batch: Mapping[str, ArrayLike],
        *,
        weight_tangents: Mapping[str, ArrayLike] | None = None,
        input_tangents: Mapping[str, ArrayLike] | None = None,
        mode: Mode | None = None,
        seed: int = 0,
        precision: Precision | None = None,
        timeout: float | None = None,
    ) -> JacobianProduct:
        """As `Client.jacobian_product`."""
        call = requests.jacobian_product(
            network,
            weights,
            batch,
            weight_tangents=weight_tangents,
            input_tangents=input_tangents,
            mode=mode,
            seed=seed,
            precision=precision,
            is_held=self._holds.knows,
        )
        return await self._run(call, timeout)

    async def hessian_product(
        self,
        network: Network,
        weights: Weights | None,
        batch: Mapping[str, ArrayLike],
        vector: Mapping[str, ArrayLike],
        *,
        loss: Loss,
        matrix: Matrix = "hessian",
        mode: Mode | None = None,
        seed: int = 0,
        precision: Precision | None = None,
        loss_scale: float | None = None,
        checkpointing: Checkpointing | None = None,
        timeout: float | None = None,
    ) -> HessianProduct:
        """As `Client.hessian_product`."""
        call = requests.hessian_product(
            network,
            weights,
            batch,
            vector,
            loss=loss,
            matrix=matrix,
            mode=mode,
            seed=seed,
            precision=precision,
            loss_scale=loss_scale,
            checkpointing=checkpointing,
            is_held=self._holds.knows,
        )
        return await self._run(call, timeout)

    async def check_gradients(
        self,
        network: Network,
        weights: Weights | None,
        batch: Mapping[str, ArrayLike],
        *,
        loss: Loss,
        parameters: Iterable[str] = (),
        inputs: Iterable[str] = (),
        directions: int = 2,
        elements: int = 2,
        tolerance: float | None = None,
        shared: Iterable[str] = (),
        mode: Mode | None = None,
        seed: int = 0,
        timeout: float | None = None,
    ) -> GradientCheck:
        """As `Client.check_gradients`."""
        plan = gradient_check(
            network,
            weights,
            batch,
            loss=loss,
            parameters=parameters,
            inputs=inputs,
            directions=directions,
            elements=elements,
            tolerance=tolerance,
            shared=shared,
            mode=mode,
            seed=seed,
        )
        answer: Any = None
        while True:
            try:
                call = plan.send(answer)
            except StopIteration as done:
                found: GradientCheck = done.value
                return found
            answer = await self._run(call, timeout)

    async def describe(
        self,
        network: Network,
        *,
        dimensions: Mapping[str, int] | None = None,
        loss: Loss | None = None,
        parameters: Iterable[str] = (),
        inputs: Iterable[str] = (),
        mode: Mode | None = None,
        precision: Precision | None = None,
        checkpointing: Checkpointing | None = None,
        micro_batches: int | None = None,
        timeout: float | None = None,
    ) -> NetworkDescription:
        """As `Client.describe`."""
        call = requests.describe(
            network,
            dimensions=dimensions,
            loss=loss,
            parameters=parameters,
            inputs=inputs,
            mode=mode,
            precision=precision,
            checkpointing=checkpointing,
            micro_batches=micro_batches,
        )
        return await self._run(call, timeout)

    async def initialize(self, network: Network, seed: int = 0, *, timeout: float | None = None) -> dict[str, Array]:
        """As `Client.initialize`."""
        return await self._run(requests.initialize(network, seed), timeout)

    async def put(self, weights: Mapping[str, ArrayLike] | bytes, *, timeout: float | None = None) -> HeldWeights:
        """As `Client.put`."""
        held = hold(weights)
        attempts = Attempts(self._settings, timeout)
        while True:
            try:
                there = await self._upload(held, None, attempts.remaining())
                if there < held.size_bytes:
                    await self._upload(held, there, attempts.remaining())
                return held
            except GradserveError as error:
                wait = attempts.wait_after(error)
            await asyncio.sleep(wait)

    async def put_fresh(self, network: Network, seed: int = 0, *, timeout: float | None = None) -> HeldWeights:
        """As `Client.put_fresh`."""
        return await self._run(requests.put_fresh(network, seed), timeout)

    async def server_info(self, *, timeout: float | None = None) -> ServerInfo:
        """As `Client.server_info`."""
        return await self._run(requests.server_info(), timeout)

    async def close(self) -> None:
        """Ends the connection; calls of other tasks end as `ClientClosed`. Can be repeated."""
        self._closed = True
        if self._channel is not None:
            await self._channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"AsyncClient({self.address!r}{', closed' if self._closed else ''})"

    async def _run(self, call: Call[Answer], timeout: float | None) -> Answer:
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
        """As `Client._upload`."""

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
        return ClientClosed(f"the client of {self.address} is closed", given=self.address)

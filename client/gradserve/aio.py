"""The client for asyncio: the same calls as coroutines."""

# `timeout` means what it means to `Client`: retries are within it, and the server is told.
# ruff: noqa: ASYNC109

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Any, Self, final

import grpc

from gradserve import requests
from gradserve.checking import GradientCheck, gradient_check
from gradserve.held import HeldWeights, hold
from gradserve.losses import Loss
from gradserve.network import Network
from gradserve.requests import Checkpointing, Matrix, Mode, Precision
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
from gradserve.transport.async_connection import AsyncConnection
from gradserve.transport.channel import Settings
from gradserve.transport.retry import RetryPolicy
from gradserve.weights import Weights


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
        self._connection = AsyncConnection(self._settings)

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
        exact_batch: bool = False,
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
            exact_batch=exact_batch,
            is_held=self._connection.holds,
        )
        return await self._connection.run(call, timeout)

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
        exact_batch: bool = False,
        micro_batches: int | None = None,
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
            exact_batch=exact_batch,
            micro_batches=micro_batches,
            is_held=self._connection.holds,
        )
        return await self._connection.run(call, timeout)

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
            is_held=self._connection.holds,
            loss_scale=loss_scale,
        )
        return await self._connection.run(call, timeout)

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
        micro_batches: int | None = None,
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
            micro_batches=micro_batches,
            is_held=self._connection.holds,
        )
        return await self._connection.run(call, timeout)

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
        micro_batches: int | None = None,
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
            micro_batches=micro_batches,
            is_held=self._connection.holds,
        )
        return await self._connection.run(call, timeout)

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
            answer = await self._connection.run(call, timeout)

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
        return await self._connection.run(call, timeout)

    async def initialize(self, network: Network, seed: int = 0, *, timeout: float | None = None) -> dict[str, Array]:
        """As `Client.initialize`."""
        return await self._connection.run(requests.initialize(network, seed), timeout)

    async def put(self, weights: Mapping[str, ArrayLike] | bytes, *, timeout: float | None = None) -> HeldWeights:
        """As `Client.put`."""
        held = hold(weights)
        await self._connection.put(held, timeout)
        return held

    async def put_fresh(self, network: Network, seed: int = 0, *, timeout: float | None = None) -> HeldWeights:
        """As `Client.put_fresh`."""
        return await self._connection.run(requests.put_fresh(network, seed), timeout)

    async def server_info(self, *, timeout: float | None = None) -> ServerInfo:
        """As `Client.server_info`."""
        return await self._connection.run(requests.server_info(), timeout)

    async def close(self) -> None:
        """Ends the connection; calls of other tasks end as `ClientClosed`. Can be repeated."""
        await self._connection.close()

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
        return f"AsyncClient({self.address!r}{', closed' if self._connection.closed else ''})"

"""The client for threads; `aio` holds its twin for asyncio."""

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
from gradserve.transport.channel import Settings
from gradserve.transport.connection import Connection
from gradserve.transport.retry import RetryPolicy
from gradserve.weights import Weights


@final
class Client:
    """A connection to a gradserve server: thread-safe, made once and kept.

    Calls that find nobody, or no room, are tried again within their timeout. All calls raise
    exceptions of `gradserve.errors` and no others.

    Example:
        >>> with gs.Client("grad.example:50051") as client:
        ...     net = gs.sequential(gs.dense(10), x=("batch", 64))
        ...     weights = client.initialize(net, seed=0)
        ...     result = client.gradients(net, weights, {"x": x, "y": y},
        ...                               loss=gs.softmax_cross_entropy(target="y"))
        ...     result.loss, result.gradients["dense_1/kernel"]

    Args:
        address: ``"host:port"`` or ``"unix:/path/to/socket"``.
        timeout: seconds that a call may take, retries included; None waits for as long as it
            takes. Each call can have its own.
        connect_timeout: seconds to look for a server that cannot be reached before a call fails as
            `Unavailable`.
        credentials: of `grpc.ssl_channel_credentials`; without them the connection is not
            encrypted.
        token: sent as ``authorization: Bearer <token>``.
        retry: when failed calls are tried again.
        on_compile: called (in the calling thread) when the server says that it is compiling, which
            takes seconds the first time.

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
        _on_close: Callable[[], None] | None = None,
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
        self._connection = Connection(self._settings)
        self._on_close = _on_close

    @property
    def address(self) -> str:
        """The server's address."""
        return self._settings.address

    def gradients(
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
        """The loss of a batch and its gradients: forward and backward.

        Element types: arrays are sent as they are, except that float64, which NumPy makes of
        everything, becomes float32 in the batch where the network's input is float32 (or the name
        is a target's) and no weight is float64. Lists follow the input's declared type.

        Args:
            network: the network.
            weights: arrays by name, the bytes of a safetensors file, `seeded`, or what `put` gave.
            batch: inputs and targets by name; the first axis counts examples.
            loss: the loss.
            parameters: whose gradients come back, by name or pattern, where ``*`` stands for any
                characters and a leading ``!`` takes away; all if empty.
            inputs: inputs whose gradients come back as well.
            without_parameters: no gradients of parameters, and none computed.
            summary_only: norms only, no gradients.
            clip_global_norm: scales all gradients so that their global norm is at most this.
            per_example: a gradient for each example, of its own loss (that of a batch which holds it
                alone), along a new first axis.
            clip_example_norm: scales each example's gradient over all parameters to at most this
                norm before they are reduced.
            example_summary: each example's own loss and gradient norm as well; they cost no memory
                for gradients of each example.
            dtype: element type of the answer's gradients; that of the weights if None.
            as_safetensors: the result's `safetensors` holds the gradients as a file as well.
            outputs: outputs of the network to return as well.
            shared: tensors of the batch without an axis of examples (class weights).
            mode: ``"training"`` or ``"inference"``; needed with dropout and batch normalization.
            seed: seed of what is random.
            precision: of the forward pass and of the way back; that of the weights if None. Loss and
                gradients stay in that of the weights.
            loss_scale: with ``"float16"``, what the loss is multiplied by on its way back; gradients
                come back without it. 2^15 if None. Where they overflow, `summary.finite` is false.
            checkpointing: what the forward pass keeps; the server's choice if None.
            micro_batches: parts of the batch to compute one after the other, which takes less
                memory; the result is that of the whole batch. Refused where examples depend on
                each other.
            exact_batch: compile for exactly this many examples. Else the server may pad the batch, which
                changes no answer, so that batches of many sizes share a few programs.
            timeout: seconds, in place of the client's; `math.inf` waits for as long as it takes.

        Raises:
            GradserveError: the subclass says what to do about it.
        """
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
        return self._connection.run(call, timeout)

    def forward(
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
        """The outputs of a network on a batch, and the loss if one is named.

        Example:
            >>> client.forward(net, weights, {"x": x}).outputs["dense_1"]

        Args:
            network: the network.
            weights: as for `gradients`.
            batch: inputs by name, and targets if there is a loss; as for `gradients`.
            loss: the loss, if any.
            outputs: which outputs; all if empty.
            mode: ``"training"`` or ``"inference"``; needed with dropout and batch normalization.
            seed: seed of what is random.
            precision: of the forward pass; that of the weights if None.
            exact_batch: as for `gradients`.
            micro_batches: parts of the batch to compute one after the other, as in `gradients`.
            timeout: seconds, in place of the client's.

        Raises:
            GradserveError: the subclass says what to do about it.
        """
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
        return self._connection.run(call, timeout)

    def trace(
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
        """Forward and backward, with every value, its gradient, the chain rule at each, and a verdict on their flow.

        Example:
            >>> trace = client.trace(net, weights, {"x": x, "y": y}, loss=gs.squared_error(target="y"))
            >>> trace.flow.verdict, trace["dense_1/kernel"].chain_rule

        Args:
            network: the network.
            weights: as for `gradients`.
            batch: inputs and targets by name; as for `gradients`.
            loss: the loss.
            whole_tensors_up_to: values and gradients of at most this many elements come whole; statistics come always.
            names: only these values, by name or pattern, as for the `parameters` of `gradients`; all if empty.
            mode: ``"training"`` or ``"inference"``; needed with dropout and batch normalization.
            seed: seed of what is random.
            precision: of the forward pass and of the way back; that of the weights if None. Loss and
                gradients stay in that of the weights.
            loss_scale: with ``"float16"``, what the loss is multiplied by on its way back; gradients
                come back without it. 2^15 if None. Where they overflow, `summary.finite` is false.
            timeout: seconds, in place of the client's.

        Raises:
            GradserveError: the subclass says what to do about it.
        """
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
        return self._connection.run(call, timeout)

    def jacobian_product(
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
        """The Jacobian of a network's outputs times tangents, in one forward pass: no matrix is built.

        Example:
            >>> moved = client.jacobian_product(net, weights, {"x": x}, input_tangents={"x": direction})
            >>> moved.output_tangents["dense_1"]

        Args:
            network: the network.
            weights: as for `gradients`.
            batch: inputs by name; as for `gradients`.
            weight_tangents: directions of parameters by name, each of its parameter's shape; zero
                where missing. float64 is sent as float32 where the weight is.
            input_tangents: likewise, of inputs.
            mode: ``"training"`` or ``"inference"``; needed with dropout and batch normalization.
            seed: seed of what is random.
            precision: of the forward pass; that of the weights if None.
            micro_batches: parts of the batch to compute one after the other, as in `gradients`.
            timeout: seconds, in place of the client's.

        Raises:
            GradserveError: the subclass says what to do about it; `Unsupported` for a StableHLO
                network, which `jax.export` keeps reverse mode alone of.
        """
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
        return self._connection.run(call, timeout)

    def hessian_product(
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
        """Second derivatives of the loss times a vector: no matrix is built.

        Example:
            >>> curved = client.hessian_product(net, weights, {"x": x, "y": y}, vector, loss=loss)
            >>> sum((vector[name] * curved.product[name]).sum() for name in vector)  # curvature along it

        Args:
            network: the network.
            weights: as for `gradients`.
            batch: inputs and targets by name; as for `gradients`.
            vector: by parameter name, each of its parameter's shape; zero where missing. float64 is
                sent as float32 where the weight is.
            loss: the loss.
            matrix: ``"hessian"``, or ``"gauss_newton"`` for J^T H J with the Jacobian J of the
                outputs and the Hessian H of the loss with respect to them: positive semidefinite
                where the loss is convex in the outputs.
            mode: ``"training"`` or ``"inference"``; needed with dropout and batch normalization.
            seed: seed of what is random.
            precision: of the passes; that of the weights if None.
            loss_scale: as for `gradients`.
            checkpointing: what the forward pass keeps; the server's choice if None.
            micro_batches: parts of the batch to compute one after the other, as in `gradients`.
            timeout: seconds, in place of the client's.

        Raises:
            GradserveError: the subclass says what to do about it; `Unsupported` where a network's
                file holds no second derivatives.
        """
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
        return self._connection.run(call, timeout)

    def check_gradients(
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
        """Holds served gradients against central differences of the served loss, in float64.

        The way along a few random directions is compared over all parameters at once, then in each
        parameter and input alone, then in single elements: first that with the largest gradient.
        Native graphs are computed in float64 whatever type the weights have; networks from files
        in the types that they fix, with a wider tolerance.

        Where a function has a kink, as relu at 0, a difference is the mean of both sides and may
        differ from a gradient that is right.

        Example:
            >>> check = client.check_gradients(net, weights, {"x": x, "y": y}, loss=loss)
            >>> assert check.holds, check.differing

        Args:
            network: the network.
            weights: arrays by name, the bytes of a safetensors file, or `seeded`; None for an ONNX
                model's own.
            batch: inputs and targets by name.
            loss: the loss.
            parameters: which parameters, by name or pattern; all if empty.
            inputs: inputs to check as well.
            directions: number of random directions over all parameters.
            elements: number of elements of each parameter and input.
            tolerance: largest difference, relative to the larger of both; 1e-5 in float64 and 2e-2
                in float32 if None.
            shared: tensors of the batch without an axis of examples.
            mode: ``"training"`` or ``"inference"``; needed with dropout and batch normalization.
            seed: seed of what is random in the network, and of the directions.
            timeout: seconds of each call, in place of the client's.

        Raises:
            GradserveError: the subclass says what to do about it.
        """
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
            answer = self._connection.run(call, timeout)

    def describe(
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
        """Inputs, outputs and parameters of a network, and what a batch would cost.

        Example:
            >>> client.describe(net, dimensions={"batch": 32}).flops

        Args:
            network: the network.
            dimensions: sizes of the named axes; without them, no cost is told.
            loss: for the cost of its backward pass; the sum of all outputs if None.
            parameters: for the cost of these gradients; all if empty.
            inputs: likewise, of inputs.
            mode: for the cost in this mode.
            precision: for the cost at this precision.
            checkpointing: for the cost of this choice.
            micro_batches: for the cost of the batch in so many parts.
            timeout: seconds, in place of the client's.

        Raises:
            GradserveError: the subclass says what to do about it.
        """
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
        return self._connection.run(call, timeout)

    def initialize(self, network: Network, seed: int = 0, *, timeout: float | None = None) -> dict[str, Array]:
        """Fresh weights for a network: arrays by name, writable.

        Args:
            network: the network.
            seed: the same seed gives the same weights.
            timeout: seconds, in place of the client's.

        Raises:
            GradserveError: the subclass says what to do about it.
        """
        return self._connection.run(requests.initialize(network, seed), timeout)

    def put(self, weights: Mapping[str, ArrayLike] | bytes, *, timeout: float | None = None) -> HeldWeights:
        """Sends weights once, for calls that then name them instead of sending them again.

        Nothing is sent if the server holds them already. Where it forgets them later, calls send them along once more.

        Example:
            >>> held = client.put(weights)
            >>> for batch in batches:
            ...     client.gradients(net, held, batch, loss=loss)

        Args:
            weights: arrays by name, or the bytes of a safetensors file.
            timeout: seconds, in place of the client's.

        Raises:
            GradserveError: the subclass says what to do about it; `LimitExceeded` if they never fit.
        """
        held = hold(weights)
        self._connection.put(held, timeout)
        return held

    def put_fresh(self, network: Network, seed: int = 0, *, timeout: float | None = None) -> HeldWeights:
        """Draws fresh weights that stay on the server, as `initialize` draws them: nothing large is sent.

        Args:
            network: the network.
            seed: the same seed gives the same weights.
            timeout: seconds, in place of the client's.

        Raises:
            GradserveError: the subclass says what to do about it.
        """
        return self._connection.run(requests.put_fresh(network, seed), timeout)

    def server_info(self, *, timeout: float | None = None) -> ServerInfo:
        """Version, devices, limits and operations of the server.

        Args:
            timeout: seconds, in place of the client's.

        Raises:
            GradserveError: the subclass says what to do about it.
        """
        return self._connection.run(requests.server_info(), timeout)

    def close(self) -> None:
        """Ends the connection; calls in other threads end as `ClientClosed`. Can be repeated."""
        self._connection.close()
        if self._on_close is not None:
            self._on_close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Client({self.address!r}{', closed' if self._connection.closed else ''})"

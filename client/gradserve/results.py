"""What calls answer: frozen values, made of the contract's messages.

Arrays are read-only views of the answer's bytes; `numpy.array(a)` makes a copy to write to.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar, final

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError, Message

from gradserve.errors import ServerFault
from gradserve.network import TensorInfo
from gradserve.tensors import Array, Attachments, from_tensor
from gradserve.v1 import gradient_service_pb2 as service_pb2
from gradserve.v1 import tensor_pb2
from gradserve.weights import from_safetensors

_Message = TypeVar("_Message", bound=Message)

_CHECKPOINTINGS = {
    service_pb2.ComputeOptions.CHECKPOINTING_UNSPECIFIED: "unspecified",
    service_pb2.ComputeOptions.CHECKPOINTING_OFF: "off",
    service_pb2.ComputeOptions.CHECKPOINTING_PRODUCTS: "products",
    service_pb2.ComputeOptions.CHECKPOINTING_BLOCKS: "blocks",
    service_pb2.ComputeOptions.CHECKPOINTING_SQRT: "sqrt",
}


@final
@dataclass(frozen=True, slots=True)
class Timing:
    """Where the time of one request went on the server, in seconds.

    Attributes:
        queue: waiting for its turn.
        compile: compiling; 0 if it was compiled before.
        execute: on the device.
        padded_examples: how many examples the run was compiled for; more than were sent if the batch was padded.
        batched_requests: how many requests were computed in the same run, this one included.
    """

    queue: float
    compile: float
    execute: float
    padded_examples: int = 0
    batched_requests: int = 1


@final
@dataclass(frozen=True, slots=True)
class GradientSummary:
    """Norms of the gradients of the parameters.

    Attributes:
        global_norm: Euclidean norm over all, before clipping.
        norms: Euclidean norm of each, by name.
        finite: whether the loss and all gradients are finite.
    """

    global_norm: float
    norms: dict[str, float]
    finite: bool


@final
@dataclass(frozen=True, slots=True, eq=False)
class GradientResult:
    """A loss and its gradients.

    Attributes:
        loss: the loss.
        gradients: of the parameters, by name, each of its parameter's shape; with `per_example`
            after a first axis that counts examples. Empty if only the summary was asked for.
        input_gradients: of the inputs that were asked for, by name.
        outputs: outputs that were asked for, by name.
        updated_statistics: weights without gradients that the forward pass updated (batch
            statistics), by name; put them in place of the old ones.
        summary: norms, and whether all is finite.
        weight_sum: sum of the example weights, to combine answers for parts of a batch.
        terms: terms of a sum of losses, before their weights, by name.
        timing: where the time went.
        safetensors: the gradients as a file, if that was asked for; otherwise empty.
        example_losses: each example's own loss, float64 [examples], if `example_summary` was asked
            for; otherwise None.
        example_norms: likewise, the Euclidean norm of the example's gradient over all parameters
            that were selected, before clipping.
    """

    loss: float
    gradients: dict[str, Array]
    input_gradients: dict[str, Array]
    outputs: dict[str, Array]
    updated_statistics: dict[str, Array]
    summary: GradientSummary
    weight_sum: float
    terms: dict[str, float]
    timing: Timing
    safetensors: bytes
    example_losses: Array | None = None
    example_norms: Array | None = None


@final
@dataclass(frozen=True, slots=True, eq=False)
class JacobianProduct:
    """The Jacobian of a network's outputs times tangents of weights and inputs.

    Attributes:
        outputs: by name.
        output_tangents: how fast each output changes along the tangents, of its output's shape, by
            name; outputs that are not floating-point have none.
        timing: where the time went.
    """

    outputs: dict[str, Array]
    output_tangents: dict[str, Array]
    timing: Timing


@final
@dataclass(frozen=True, slots=True, eq=False)
class HessianProduct:
    """A matrix of second derivatives of a loss times a vector.

    Attributes:
        loss: the loss.
        product: of each parameter's shape and element type, by name.
        timing: where the time went.
    """

    loss: float
    product: dict[str, Array]
    timing: Timing


@final
@dataclass(frozen=True, slots=True, eq=False)
class ForwardResult:
    """Outputs of a network.

    Attributes:
        outputs: by name.
        loss: the loss, if one was named.
        timing: where the time went.
    """

    outputs: dict[str, Array]
    loss: float | None
    timing: Timing


@final
@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """Memory of one choice of checkpointing.

    Attributes:
        checkpointing: ``"off"``, ``"products"``, ``"blocks"`` or ``"sqrt"``; ``"unspecified"`` is
            the server's own choice.
        peak_bytes: the most bytes on the device at one time.
        fits: whether the server would take it.
    """

    checkpointing: str
    peak_bytes: int
    fits: bool


@final
@dataclass(frozen=True, slots=True)
class NetworkDescription:
    """What a network is, and what a batch would cost.

    Attributes:
        inputs: what a batch must hold.
        outputs: what it gives.
        parameters: weights with gradients.
        statistics: weights without gradients (batch statistics).
        parameter_count: number of elements of all parameters.
        flops: floating-point operations forward and backward; 0 without `dimensions`.
        memory: peak memory of each choice of checkpointing; empty without `dimensions`.
        digest: SHA-256 of the network, hexadecimal; empty if the server gives none.
    """

    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    parameters: tuple[TensorInfo, ...]
    statistics: tuple[TensorInfo, ...]
    parameter_count: int
    flops: int
    memory: tuple[MemoryPlan, ...]
    digest: str


@final
@dataclass(frozen=True, slots=True)
class ServerInfo:
    """What a server is.

    Attributes:
        version: version of gradserve.
        platform: ``"cpu"``, ``"cuda"``.
        devices: what it computes on.
        limits: by name, in bytes or counts.
        operations: operations of native graphs.
        losses: formulas of losses.
        optimizers: rules of optimizers.
        onnx_operators: ONNX operators, as ``"domain:Operator:since_version"``.
        versions: versions of what results depend on, by name.
    """

    version: str
    platform: str
    devices: tuple[str, ...]
    limits: dict[str, int]
    operations: tuple[str, ...]
    losses: tuple[str, ...]
    optimizers: tuple[str, ...]
    onnx_operators: tuple[str, ...]
    versions: dict[str, str]


def read_gradients(content: bytes) -> GradientResult:
    """The answer to ComputeGradients."""
    return gradients_of(parse(service_pb2.ComputeGradientsResponse, content), {})


def gradients_of(answer: service_pb2.ComputeGradientsResponse, attachments: Attachments) -> GradientResult:
    """What an answer to ComputeGradients says."""
    file = answer.safetensors
    if answer.HasField("attachment"):
        file = bytes(attachments[answer.attachment.number])
    gradients = from_safetensors(file) if file else _arrays(answer.tensors.by_name, attachments)
    return GradientResult(
        loss=answer.loss,
        gradients=gradients,
        input_gradients=_arrays(answer.input_gradients, attachments),
        outputs=_arrays(answer.outputs, attachments),
        updated_statistics=_arrays(answer.updated_statistics, attachments),
        summary=GradientSummary(
            global_norm=answer.summary.global_norm,
            norms=dict(sorted(answer.summary.norms.items())),
            finite=answer.summary.finite,
        ),
        weight_sum=answer.weight_sum,
        terms=dict(sorted(answer.terms.items())),
        timing=read_timing(answer.timing),
        safetensors=file,
        example_losses=from_tensor(answer.example_losses, attachments) if answer.HasField("example_losses") else None,
        example_norms=from_tensor(answer.example_norms, attachments) if answer.HasField("example_norms") else None,
    )


def read_jacobian_product(content: bytes) -> JacobianProduct:
    """The answer to ComputeJacobianProduct."""
    return jacobian_product_of(parse(service_pb2.ComputeJacobianProductResponse, content), {})


def jacobian_product_of(
    answer: service_pb2.ComputeJacobianProductResponse, attachments: Attachments
) -> JacobianProduct:
    """What an answer to ComputeJacobianProduct says."""
    return JacobianProduct(
        outputs=_arrays(answer.outputs, attachments),
        output_tangents=_arrays(answer.output_tangents, attachments),
        timing=read_timing(answer.timing),
    )


def read_hessian_product(content: bytes) -> HessianProduct:
    """The answer to ComputeHessianProduct."""
    return hessian_product_of(parse(service_pb2.ComputeHessianProductResponse, content), {})


def hessian_product_of(answer: service_pb2.ComputeHessianProductResponse, attachments: Attachments) -> HessianProduct:
    """What an answer to ComputeHessianProduct says."""
    return HessianProduct(
        loss=answer.loss, product=_arrays(answer.product, attachments), timing=read_timing(answer.timing)
    )


def read_forward(content: bytes) -> ForwardResult:
    """The answer to Forward."""
    return forward_of(parse(service_pb2.ForwardResponse, content), {})


def forward_of(answer: service_pb2.ForwardResponse, attachments: Attachments) -> ForwardResult:
    """What an answer to Forward says."""
    return ForwardResult(
        outputs=_arrays(answer.outputs, attachments),
        loss=answer.loss if answer.HasField("loss") else None,
        timing=read_timing(answer.timing),
    )


def read_description(content: bytes) -> NetworkDescription:
    """The answer to DescribeNetwork."""
    answer = parse(service_pb2.DescribeNetworkResponse, content)
    return NetworkDescription(
        inputs=tuple(map(TensorInfo.from_message, answer.inputs)),
        outputs=tuple(map(TensorInfo.from_message, answer.outputs)),
        parameters=tuple(map(TensorInfo.from_message, answer.parameters)),
        statistics=tuple(map(TensorInfo.from_message, answer.statistics)),
        parameter_count=answer.parameter_count,
        flops=answer.flops,
        memory=tuple(
            MemoryPlan(
                _CHECKPOINTINGS.get(plan.checkpointing, str(plan.checkpointing)),
                plan.peak_bytes,
                plan.fits,
            )
            for plan in answer.memory
        ),
        digest=answer.digest.hash,
    )


def read_weights(content: bytes) -> dict[str, Array]:
    """The answer to InitializeWeights; these arrays are writable."""
    answer = parse(service_pb2.InitializeWeightsResponse, content)
    return from_safetensors(answer.safetensors)


def read_server_info(content: bytes) -> ServerInfo:
    """The answer to GetServerInfo."""
    answer = parse(service_pb2.GetServerInfoResponse, content)
    return ServerInfo(
        version=answer.version,
        platform=answer.platform,
        devices=tuple(answer.devices),
        limits=dict(sorted(answer.limits.items())),
        operations=tuple(answer.operations),
        losses=tuple(answer.losses),
        optimizers=tuple(answer.optimizers),
        onnx_operators=tuple(answer.onnx_operators),
        versions=dict(sorted(answer.versions.items())),
    )


def parse(kind: type[_Message], content: bytes) -> _Message:
    """The message in `content`.

    Raises:
        ServerFault: it is none.
    """
    try:
        return kind.FromString(content)
    except DecodeError as error:
        raise ServerFault(f"the answer is no {kind.__name__}: {error}") from None


def _arrays(tensors: Mapping[str, tensor_pb2.Tensor], attachments: Attachments) -> dict[str, Array]:
    # Maps of protobuf have no order of their own.
    return {name: from_tensor(tensor, attachments) for name, tensor in sorted(tensors.items())} if tensors else {}


def read_timing(message: service_pb2.Timing) -> Timing:
    """Durations as seconds."""
    return Timing(
        queue=_seconds(message.queue),
        compile=_seconds(message.compile),
        execute=_seconds(message.execute),
        padded_examples=message.padded_examples,
        batched_requests=message.batched_requests or 1,
    )


def _seconds(duration: Duration) -> float:
    return duration.seconds + duration.nanos * 1e-9

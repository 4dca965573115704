"""Requests of the contract as specs and arrays. Wire types stop here."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from google.protobuf.message import DecodeError, Message
from google.protobuf.unknown_fields import UnknownFieldSet

from gradserve.v1 import gradient_service_pb2 as service
from gradserve.v1 import network_pb2, tensor_pb2
from gradserve_server.common import tracing
from gradserve_server.common.errors import Problem, Reason
from gradserve_server.common.specs import (
    ArraySpec,
    Matrix,
    NetworkSource,
    ProgramSpec,
    Selection,
    describe,
)
from gradserve_server.common.unknown_fields import refuse_unknown
from gradserve_server.front.artifacts.store import Artifact
from gradserve_server.front.losses import check_size, read_loss
from gradserve_server.front.options import loss_scale_of, options_of, selection_of
from gradserve_server.front.reading import attached_bytes, current
from gradserve_server.front.tensors import (
    FLOATING,
    NAMES,
    Array,
    read_safetensors,
    read_tensor,
)
from gradserve_server.worker.interface import Content, Seeds

# Formats of definitions that are sent as they are, by the field that holds them; a native graph in all others.
_FORMATS: Mapping[str | None, Any] = {"onnx_text": "onnx_text", "stablehlo": "stablehlo"}
_DIGEST_FORMATS: Mapping[int, Any] = {
    network_pb2.NetworkDefinition.FORMAT_GRAPH: "graph",
    network_pb2.NetworkDefinition.FORMAT_ONNX: "onnx",
    network_pb2.NetworkDefinition.FORMAT_ONNX_TEXT: "onnx_text",
    network_pb2.NetworkDefinition.FORMAT_STABLEHLO: "stablehlo",
}
# Formats whose networks can come with weights of their own.
_WITH_WEIGHTS = frozenset({"onnx", "onnx_text"})


@dataclasses.dataclass(frozen=True)
class Task:
    """A request, ready to run.

    Attributes:
        spec: what its program depends on.
        arrays: weights, then batch, then vectors, in the order of the program's arguments; of a request like an earlier
            one, their bytes.
        seeds: of what is random.
        examples: how many the batch holds; 0 where all of it is shared.
        as_safetensors: whether gradients are answered as one file.
        key: of the spec.
        in_regions: whether some of the arrays lie in regions.
        artifacts: what it takes from the store, held by this reference.
        appendix: the part of the answer that is known already.
        is_kept: whether its weights were taken into the store.
    """

    spec: ProgramSpec
    arrays: tuple[Content, ...]
    seeds: Seeds
    examples: int
    as_safetensors: bool = False
    key: bytes = b""
    in_regions: bool = False
    artifacts: tuple[Artifact, ...] = ()
    appendix: bytes = b""
    is_kept: bool = False

    def __post_init__(self) -> None:
        if not self.key:
            object.__setattr__(self, "key", self.spec.key())


_ALL = Selection()

Request = TypeVar("Request", bound=Message)


def parse(kind: type[Request], content: bytes) -> Request:
    """The message in `content`.

    Parsed here and not by gRPC: there, bytes that are no message would be the server's fault.
    """
    try:
        return kind.FromString(content)
    except DecodeError:
        raise Problem(
            Reason.MALFORMED_REQUEST, f"the bytes are no {kind.DESCRIPTOR.name}", given=f"{len(content)} bytes"
        ) from None


def gradients_task(request: service.ComputeGradientsRequest, most_bytes: int) -> Task:
    """What `request` asks for.

    Raises:
        Problem: something in it is missing, malformed or not served.
    """
    refuse_unknown_here(request, "")
    if not request.HasField("loss"):
        raise Problem(Reason.MISSING_FIELD, "gradients need a loss", field="loss")
    task = task_of(
        "gradients",
        request,
        most_bytes,
        selection=selection_of(request.gradients),
        outputs=tuple(request.outputs),
        shared=tuple(request.shared),
    )
    return dataclasses.replace(task, as_safetensors=request.gradients.as_safetensors)


def forward_task(request: service.ForwardRequest, most_bytes: int) -> Task:
    """What `request` asks for."""
    refuse_unknown_here(request, "")
    return task_of("forward", request, most_bytes, outputs=tuple(request.outputs))


def trace_task(request: service.TraceRequest, most_bytes: int) -> Task:
    """What `request` asks for."""
    refuse_unknown_here(request, "")
    if not request.HasField("loss"):
        raise Problem(Reason.MISSING_FIELD, "gradients need a loss", field="loss")
    if request.whole_tensors_up_to < 0:
        raise Problem(
            Reason.INVALID_VALUE,
            "not a number of elements",
            field="whole_tensors_up_to",
            given=str(request.whole_tensors_up_to),
            expected="at least 0",
        )
    asked = tracing.Request(request.whole_tensors_up_to, tuple(request.names))
    return task_of("trace", request, most_bytes, trace=asked)


_NO_TRACE = tracing.Request()


def task_of(
    kind: Any,
    request: Any,
    most_bytes: int,
    *,
    selection: Selection = _ALL,
    outputs: tuple[str, ...] = (),
    shared: tuple[str, ...] = (),
    tangents: Mapping[str, Array] = types.MappingProxyType({}),
    trace: tracing.Request = _NO_TRACE,
    matrix: Matrix = Matrix.HESSIAN,
) -> Task:
    """What a request with network, weights, batch and options asks for, and a loss where it has one.

    Args:
        kind: what is computed.
        request: the request.
        most_bytes: of network and loss.
        selection: see `ProgramSpec`.
        outputs: likewise.
        shared: likewise.
        tangents: arrays that are neither weights nor batch nor in the loss, by their places in the request.
        trace: likewise.
        matrix: likewise.
    """
    options = options_of(request.options)
    batch, examples = _batch(request.batch, shared)
    network = network_source(request.network, most_bytes)
    weights, own_weights, seed = _weights(request.weights, network.format)
    has_loss = "loss" in request.DESCRIPTOR.fields_by_name and request.HasField("loss")
    loss, in_loss = read_loss(request.loss, most_bytes) if has_loss else (b"", {})
    scale = loss_scale_of(request.options)
    vectors = dict(sorted({**in_loss, **tangents, **(scale if has_loss else {})}.items()))
    spec = ProgramSpec(
        kind=kind,
        network=network,
        loss=loss,
        batch=forms(batch),
        weights=None if weights is None else forms(weights),
        selection=selection,
        options=options,
        outputs=outputs,
        shared=tuple(sorted(shared)),
        vectors=forms(vectors),
        own_weights=own_weights,
        trace=trace,
        matrix=matrix,
    )
    arrays = (*(weights or {}).values(), *batch.values(), *vectors.values())
    return Task(spec, arrays, Seeds(seed, request.options.seed), examples)


def network_source(definition: network_pb2.NetworkDefinition, most_bytes: int) -> NetworkSource:
    """The network's bytes, unread: to parse a stranger's definition is the worker's risk."""
    refuse_unknown_here(definition, "network")
    source = definition.WhichOneof("source")
    if definition.digest_format and source != "digest":
        raise Problem(
            Reason.INVALID_VALUE, "it goes with a digest only", field="network.digest_format", expected="not set"
        )
    match source:
        case "serialized_graph":
            content = definition.serialized_graph
        case "graph":
            content = definition.graph.SerializeToString(deterministic=True)
        case "onnx":
            # Its weights do not count as definition; the worker, who can tell them apart, looks at the rest.
            return NetworkSource("onnx", definition.onnx)
        case "onnx_text":
            content = definition.onnx_text.encode()
        case "stablehlo":
            content = definition.stablehlo
        case "digest":
            form = _DIGEST_FORMATS.get(definition.digest_format)
            if form is None:
                raise Problem(
                    Reason.MISSING_FIELD,
                    "a digest does not tell what its bytes are",
                    field="network.digest_format",
                    expected="FORMAT_GRAPH, FORMAT_ONNX, FORMAT_ONNX_TEXT or FORMAT_STABLEHLO",
                )
            artifact = current().take(definition.digest, "network.digest")
            content = artifact.content()
            if form != "onnx":
                check_size(content, "network.digest", most_bytes)
            return NetworkSource(form, content, artifact.digest.hash)
        case _:
            raise Problem(Reason.MISSING_FIELD, "there is no network", field="network")
    check_size(content, f"network.{source}", most_bytes)
    return NetworkSource(_FORMATS.get(source, "graph"), content)


def refuse_unknown_here(message: Any, field: str) -> None:
    """Refuses unknown fields of `message` itself: cheap enough for every call; what lies below is checked apart."""
    if len(UnknownFieldSet(message)):
        refuse_unknown(message, field)


def forms(arrays: Mapping[str, Array]) -> tuple[ArraySpec, ...]:
    """Names, types and shapes of the arrays, in their order."""
    return tuple(ArraySpec(name, NAMES[array.dtype], array.shape) for name, array in arrays.items())


def _batch(message: Mapping[str, tensor_pb2.Tensor], shared: Sequence[str]) -> tuple[dict[str, Array], int]:
    """Arrays in order of name, and the number of examples."""
    if not message:
        raise Problem(Reason.EMPTY_BATCH, "the batch holds no tensors", field="batch")
    for index, name in enumerate(shared):
        if name not in message:
            raise Problem(
                Reason.UNKNOWN_NAME,
                "the batch holds no tensor of this name",
                field=f"shared[{index}]",
                given=repr(name),
                expected=", ".join(sorted(message)),
            )
    arrays = {name: read_tensor(message[name], f"batch.{name}") for name in sorted(message)}
    first = ""
    without_examples = frozenset(shared)
    for name, array in arrays.items():
        if name in without_examples:
            continue
        if not array.ndim:
            raise Problem(
                Reason.SHAPE_MISMATCH,
                "its first axis should count examples, and it has no axes",
                field=f"batch.{name}",
                given=describe(array.dtype, array.shape),
                hint="Name it in `shared` if it is one tensor for all examples.",
            )
        if not array.shape[0]:
            raise Problem(
                Reason.EMPTY_BATCH,
                "the batch has no examples",
                field=f"batch.{name}",
                given=describe(array.dtype, array.shape),
            )
        if first and array.shape[0] != arrays[first].shape[0]:
            raise Problem(
                Reason.BATCH_SIZE_MISMATCH,
                f"its number of examples is not that of '{first}'",
                field=f"batch.{name}",
                given=describe(array.dtype, array.shape),
                expected=f"{arrays[first].shape[0]} examples",
                hint="The first axis counts examples; name tensors without that axis in `shared`.",
            )
        first = first or name
    return arrays, arrays[first].shape[0] if first else 0


def _weights(message: service.Weights, network_format: str) -> tuple[dict[str, Array] | None, bool, int]:
    """Arrays in order of name, or None and a seed; and whether the network's own stand in for those not sent."""
    has_own = network_format in _WITH_WEIGHTS
    refuse_unknown_here(message, "weights")
    match message.WhichOneof("source"):
        case "tensors":
            refuse_unknown_here(message.tensors, "weights.tensors")
            by_name = message.tensors.by_name
            arrays = {name: read_tensor(by_name[name], f"weights.{name}") for name in sorted(by_name)}
        case "safetensors":
            read = read_safetensors(message.safetensors, "weights.safetensors")
            arrays = {name: read[name] for name in sorted(read)}
        case "attachment":
            file = attached_bytes(message.attachment, "weights.attachment")
            read = read_safetensors(file, "weights.attachment")
            arrays = {name: read[name] for name in sorted(read)}
        case "digest":
            read = current().take(message.digest, "weights.digest").weights("weights.digest")
            arrays = {name: read[name] for name in sorted(read)}
        case "seed" if not message.keep:
            return None, False, message.seed
        case "seed":
            raise Problem(
                Reason.INVALID_VALUE,
                "weights from a seed are not sent, and so not kept",
                field="weights.keep",
                hint="InitializeWeights with `keep_only` holds fresh weights.",
            )
        case None if has_own:
            return {}, True, 0
        case None:
            raise Problem(
                Reason.MISSING_FIELD,
                "there are no weights, and a native graph has none of its own",
                field="weights",
                expected="tensors, safetensors or seed",
            )
        case other:
            raise Problem(
                Reason.NOT_IMPLEMENTED_YET, f"weights as '{other}' are not served yet", field=f"weights.{other}"
            )
    for name, array in arrays.items():
        if array.dtype not in FLOATING:
            raise Problem(
                Reason.DTYPE_MISMATCH,
                "weights are floating-point numbers",
                field=f"weights.{name}",
                given=describe(array.dtype, array.shape),
                expected="float16, bfloat16, float32 or float64",
            )
    if message.keep:
        current().keep(arrays)
    return arrays, has_own, 0

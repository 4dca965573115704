"""Calls as values: arguments in, bytes to send and a reader of the answer out. No input or output.

Both clients send what this file prepares, so that they cannot drift apart.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any, Generic, Literal, TypeVar, final

import numpy as np
from google.protobuf.message import Message

from gradserve.casting import batch_array, weight_arrays
from gradserve.errors import InvalidRequest, MissingContent
from gradserve.held import SMALLEST_NETWORK, HeldWeights, address_of, is_double
from gradserve.layers import whole
from gradserve.losses import Loss
from gradserve.network import Format, Network
from gradserve.results import (
    ForwardResult,
    GradientResult,
    HessianProduct,
    JacobianProduct,
    NetworkDescription,
    ServerInfo,
    forward_of,
    gradients_of,
    hessian_product_of,
    jacobian_product_of,
    parse,
    read_description,
    read_forward,
    read_gradients,
    read_hessian_product,
    read_jacobian_product,
    read_server_info,
    read_weights,
)
from gradserve.tensors import Array, ArrayLike, DTypeLike, message_bytes, to_data_type, to_dtype
from gradserve.traces import TraceResult, read_trace
from gradserve.v1 import gradient_service_pb2 as service_pb2
from gradserve.v1 import network_pb2, tensor_pb2
from gradserve.weights import Seeded, Weights
from gradserve.wire import STREAMED_BYTES, Piece, field, join, nested, tensor_map

Answer = TypeVar("Answer")

Mode = Literal["training", "inference"]
Precision = Literal["bfloat16", "float16"]
Checkpointing = Literal["off", "products", "blocks", "sqrt"]
Matrix = Literal["hessian", "gauss_newton"]

_Options = service_pb2.ComputeOptions
_MODES: dict[Any, _Options.Mode] = {
    None: _Options.MODE_UNSPECIFIED,
    "training": _Options.MODE_TRAINING,
    "inference": _Options.MODE_INFERENCE,
}
_PRECISIONS: dict[Any, _Options.Precision] = {
    None: _Options.PRECISION_UNSPECIFIED,
    "bfloat16": _Options.PRECISION_BFLOAT16,
    "float16": _Options.PRECISION_FLOAT16,
}
_CHECKPOINTINGS: dict[Any, _Options.Checkpointing] = {
    None: _Options.CHECKPOINTING_UNSPECIFIED,
    "off": _Options.CHECKPOINTING_OFF,
    "products": _Options.CHECKPOINTING_PRODUCTS,
    "blocks": _Options.CHECKPOINTING_BLOCKS,
    "sqrt": _Options.CHECKPOINTING_SQRT,
}
_MATRICES: dict[Any, service_pb2.ComputeHessianProductRequest.Matrix] = {
    "hessian": service_pb2.ComputeHessianProductRequest.MATRIX_HESSIAN,
    "gauss_newton": service_pb2.ComputeHessianProductRequest.MATRIX_GAUSS_NEWTON,
}
_INTEGERS = -(2**63)

_Definition = network_pb2.NetworkDefinition
# The field that holds a definition, by its format.
_DEFINITIONS: dict[Format, tuple[str, int]] = {
    "graph": ("serialized_graph", _Definition.SERIALIZED_GRAPH_FIELD_NUMBER),
    "onnx": ("onnx", _Definition.ONNX_FIELD_NUMBER),
    "onnx_text": ("onnx_text", _Definition.ONNX_TEXT_FIELD_NUMBER),
    "stablehlo": ("stablehlo", _Definition.STABLEHLO_FIELD_NUMBER),
}

_DIGEST_FORMATS: dict[Format, network_pb2.NetworkDefinition.Format] = {
    "graph": _Definition.FORMAT_GRAPH,
    "onnx": _Definition.FORMAT_ONNX,
    "onnx_text": _Definition.FORMAT_ONNX_TEXT,
    "stablehlo": _Definition.FORMAT_STABLEHLO,
}

_KEEP = service_pb2.Weights(keep=True).SerializeToString()

_Gradients = service_pb2.ComputeGradientsRequest
_Forward = service_pb2.ForwardRequest
_Trace = service_pb2.TraceRequest
_Jacobian = service_pb2.ComputeJacobianProductRequest
_Hessian = service_pb2.ComputeHessianProductRequest


IsHeld = Callable[[Network], bool]
"""Whether the server was sent a network before."""


def _nothing_held(_: Network) -> bool:
    return False


@final
@dataclass(frozen=True, slots=True)
class Streamed(Generic[Answer]):
    """A call whose tensors follow it on a stream.

    Attributes:
        part: name of its request and of its answer in the messages of a stream.
        opening: the serialized request, its large tensors attached.
        attached: the large tensors; their attachments are numbered from 1.
        answer: class of the answer.
        read: makes the answer of that message and of the bytes of its attachments by number.
    """

    part: str
    opening: bytes
    attached: list[Array]
    answer: type[Message]
    read: Callable[[Any, Mapping[int, memoryview]], Answer]


@final
class Call(Generic[Answer]):
    """One call that is ready to be sent, any number of times.

    Args:
        method: name of the RPC.
        message: the serialized request, or what makes it.
        read: makes the answer of the serialized response.
        signature: equal for calls that the server computes with one compiled program; None for
            calls that compile nothing.
        with_content: makes the same call with the content of what it names by digest ``hash/size``, or None where the
            client does not have it; None where it names nothing.
        network: what the server holds after it.
        streamed: makes the same call for a stream; None where it is as well off without.
    """

    __slots__ = ("_message", "method", "network", "read", "signature", "streamed", "with_content")

    def __init__(
        self,
        method: str,
        message: bytes | Callable[[], bytes],
        read: Callable[[bytes], Answer],
        signature: Hashable = None,
        streamed: Callable[[], Streamed[Answer]] | None = None,
        *,
        with_content: Callable[[str], Call[Answer] | None] | None = None,
        network: Network | None = None,
    ) -> None:
        self.method = method
        self.read = read
        self.signature = signature
        self.streamed = streamed
        self.with_content = with_content
        self.network = network
        self._message = message

    @property
    def message(self) -> bytes:
        """The serialized request.

        Raises:
            LimitExceeded: it does not fit one message.
        """
        return self._message if isinstance(self._message, bytes) else self._message()


@final
@dataclass(frozen=True, slots=True)
class _Form(Generic[Answer]):
    """How a kind of call is sent and its answer read.

    Attributes:
        method: name of the RPC.
        read: makes the answer of the serialized response.
        part: name of the request and of its answer in the messages of a stream; empty where it takes no stream.
        answer: class of the response.
        assemble: makes the answer of that message and of the bytes of its attachments by number.
    """

    method: str
    read: Callable[[bytes], Answer]
    part: str = ""
    answer: type[Message] = Message
    assemble: Callable[[Any, Mapping[int, memoryview]], Answer] | None = None


_GRADIENTS_FORM = _Form(
    "ComputeGradients", read_gradients, "compute_gradients", service_pb2.ComputeGradientsResponse, gradients_of
)
_FORWARD_FORM = _Form("Forward", read_forward, "forward", service_pb2.ForwardResponse, forward_of)
_TRACE_FORM = _Form("Trace", read_trace)


def gradients(
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
    is_held: IsHeld = _nothing_held,
) -> Call[GradientResult]:
    """ComputeGradients; the arguments are those of `Client.gradients`, and which networks the server holds."""
    rest = _selection(
        _names(parameters, "parameters"),
        _names(inputs, "inputs"),
        without_parameters,
        summary_only,
        clip_global_norm or 0.0,
        per_example,
        clip_example_norm or 0.0,
        example_summary,
        None if dtype is None else to_dtype(dtype, "dtype").name,
        as_safetensors,
        _names(outputs, "outputs"),
        _names(shared, "shared"),
    )
    how = (mode, precision, checkpointing, _parts(micro_batches))
    tail: list[Piece] = [
        _loss(loss, _Gradients.LOSS_FIELD_NUMBER),
        rest,
        _options(_Gradients.OPTIONS_FIELD_NUMBER, how, seed, loss_scale),
    ]
    return _call(_GRADIENTS_FORM, _tensors(network, weights, batch, is_held), tail, (loss.form, rest, how))


def forward(
    network: Network,
    weights: Weights | None,
    batch: Mapping[str, ArrayLike],
    *,
    loss: Loss | None = None,
    outputs: Iterable[str] = (),
    mode: Mode | None = None,
    seed: int = 0,
    precision: Precision | None = None,
    is_held: IsHeld = _nothing_held,
) -> Call[ForwardResult]:
    """Forward; the arguments are those of `Client.forward`, and which networks the server holds."""
    rest = message_bytes(_Forward(outputs=_names(outputs, "outputs")))
    how = (mode, precision, None, 0)
    tail: list[Piece] = [rest, _options(_Forward.OPTIONS_FIELD_NUMBER, how, seed)]
    if loss is not None:
        tail.append(_loss(loss, _Forward.LOSS_FIELD_NUMBER))
    return _call(_FORWARD_FORM, _tensors(network, weights, batch, is_held), tail, (loss and loss.form, rest, how))


def trace(
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
    is_held: IsHeld = _nothing_held,
) -> Call[TraceResult]:
    """Trace; the arguments are those of `Client.trace`, and which networks the server holds."""
    most = whole(whole_tensors_up_to, "whole_tensors_up_to", 0)
    rest = message_bytes(_Trace(whole_tensors_up_to=most, names=_names(names, "names")))
    how = (mode, precision, None, 0)
    tail: list[Piece] = [
        _loss(loss, _Trace.LOSS_FIELD_NUMBER),
        rest,
        _options(_Trace.OPTIONS_FIELD_NUMBER, how, seed, loss_scale),
    ]
    return _call(_TRACE_FORM, _tensors(network, weights, batch, is_held), tail, (loss.form, rest, how))


def jacobian_product(
    network: Network,
    weights: Weights | None,
    batch: Mapping[str, ArrayLike],
    *,
    weight_tangents: Mapping[str, ArrayLike] | None = None,
    input_tangents: Mapping[str, ArrayLike] | None = None,
    mode: Mode | None = None,
    seed: int = 0,
    precision: Precision | None = None,
    is_held: IsHeld = _nothing_held,
) -> Call[JacobianProduct]:
    """ComputeJacobianProduct; arguments as `Client.jacobian_product`, and which networks the server holds."""
    tensors = _tensors(network, weights, batch, is_held)
    declared = network.input_dtypes
    of_inputs = {
        _name(name, "input_tangents"): batch_array(one, declared.get(name), tensors.is_double, f"input_tangents.{name}")
        for name, one in _by_name(input_tangents or {}, "input_tangents").items()
    }
    of_weights = _like_weights(weight_tangents or {}, tensors, "weight_tangents")
    tensors = replace(
        tensors,
        tangents=(
            (_Jacobian.WEIGHT_TANGENTS_FIELD_NUMBER, of_weights),
            (_Jacobian.INPUT_TANGENTS_FIELD_NUMBER, of_inputs),
        ),
    )
    how = (mode, precision, None, 0)
    form = _Form(
        "ComputeJacobianProduct",
        read_jacobian_product,
        "compute_jacobian_product",
        service_pb2.ComputeJacobianProductResponse,
        jacobian_product_of,
    )
    return _call(form, tensors, [_options(_Jacobian.OPTIONS_FIELD_NUMBER, how, seed)], (how,))


def hessian_product(
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
    is_held: IsHeld = _nothing_held,
) -> Call[HessianProduct]:
    """ComputeHessianProduct; arguments as `Client.hessian_product`, and which networks the server holds."""
    tensors = _tensors(network, weights, batch, is_held)
    along = _like_weights(vector, tensors, "vector")
    tensors = replace(tensors, tangents=((_Hessian.VECTOR_FIELD_NUMBER, along),))
    rest = message_bytes(_Hessian(matrix=_choice(_MATRICES, matrix, "matrix")))
    how = (mode, precision, checkpointing, 0)
    tail: list[Piece] = [
        _loss(loss, _Hessian.LOSS_FIELD_NUMBER),
        rest,
        _options(_Hessian.OPTIONS_FIELD_NUMBER, how, seed, loss_scale),
    ]
    form = _Form(
        "ComputeHessianProduct",
        read_hessian_product,
        "compute_hessian_product",
        service_pb2.ComputeHessianProductResponse,
        hessian_product_of,
    )
    return _call(form, tensors, tail, (loss.form, rest, how))


def with_content(call: Call[Answer], error: MissingContent) -> Call[Answer]:
    """The call with the content of what the server told it does not hold.

    Raises:
        MissingContent: the client does not have it.
    """
    more = None if call.with_content is None else call.with_content(error.metadata.get("missing", ""))
    if more is None:
        raise error
    return more


def describe(
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
) -> Call[NetworkDescription]:
    """DescribeNetwork; the arguments are those of `Client.describe`."""
    request = service_pb2.DescribeNetworkRequest(
        network=_definition(network),
        dimensions={name: whole(one, f"dimensions.{name}") for name, one in (dimensions or {}).items()},
    )
    if mode or precision or checkpointing or micro_batches:
        request.options.CopyFrom(_compute_options((mode, precision, checkpointing, _parts(micro_batches)), 0))
    if loss is not None:
        request.loss.CopyFrom(_checked(loss).message)
    selection = service_pb2.GradientSelection(
        parameters=_names(parameters, "parameters"), inputs=_names(inputs, "inputs")
    )
    if selection.parameters or selection.inputs:
        request.gradients.CopyFrom(selection)
    message = message_bytes(request)
    return Call("DescribeNetwork", message, read_description, ("DescribeNetwork", message))


def initialize(network: Network, seed: int = 0) -> Call[dict[str, Array]]:
    """InitializeWeights; the arguments are those of `Client.initialize`."""
    request = service_pb2.InitializeWeightsRequest(network=_definition(network), seed=whole(seed, "seed", _INTEGERS))
    signature = ("InitializeWeights", network)
    return Call("InitializeWeights", message_bytes(request), read_weights, signature)


def put_fresh(network: Network, seed: int = 0) -> Call[HeldWeights]:
    """InitializeWeights that keeps them; the arguments are those of `Client.put_fresh`."""
    request = service_pb2.InitializeWeightsRequest(
        network=_definition(network), seed=whole(seed, "seed", _INTEGERS), keep_only=True
    )
    return Call("InitializeWeights", message_bytes(request), _read_held, ("InitializeWeights", network))


def _read_held(content: bytes) -> HeldWeights:
    digest = parse(service_pb2.InitializeWeightsResponse, content).digest
    return HeldWeights(digest.hash, digest.size_bytes, None, b"")


def server_info() -> Call[ServerInfo]:
    """GetServerInfo."""
    return Call("GetServerInfo", b"", read_server_info)


@final
@dataclass(frozen=True, slots=True)
class _Tensors:
    """Network, weights and batch of a request. Their fields have the same numbers in all requests.

    Attributes:
        network: the network.
        weights: arrays by name; None where they are sent in another way.
        other_weights: content of the `Weights` message, and what tells its form, where they are.
        batch: arrays by name.
        by_digest: whether the network is named by its digest.
        held: the weights, where they are named by their digest.
        keep: whether the server is to hold the weights.
        is_double: whether any weight is float64.
        tangents: more arrays by name, each map with the number of its field.
    """

    network: Network
    weights: dict[str, Array] | None
    other_weights: tuple[list[Piece], list[bytes]] | None
    batch: dict[str, Array]
    by_digest: bool = False
    held: HeldWeights | None = None
    keep: bool = False
    is_double: bool = False
    tangents: tuple[tuple[int, dict[str, Array]], ...] = ()

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        maps = (self.batch, self.weights or {}, *(one for _, one in self.tangents))
        return sum([array.nbytes for arrays in maps for array in arrays.values()])

    def pieces(self, attached: list[Array] | None = None) -> tuple[list[Piece], list[bytes]]:
        """All of it as pieces of a request, and what tells names and shapes; see `wire.tensor_map`."""
        pieces = _network_by_digest(self.network) if self.by_digest else _network(self.network)
        headers: list[bytes] = []
        kept: list[Piece] = [_KEEP] if self.keep else []
        if self.weights is not None:
            inner, headers = tensor_map(service_pb2.NamedTensors.BY_NAME_FIELD_NUMBER, self.weights, attached)
            content = nested(service_pb2.Weights.TENSORS_FIELD_NUMBER, inner)
            pieces += nested(_Gradients.WEIGHTS_FIELD_NUMBER, content + kept)
        elif self.other_weights is not None:
            content, headers = self.other_weights
            pieces += nested(_Gradients.WEIGHTS_FIELD_NUMBER, content + kept)
        for number, arrays in ((_Gradients.BATCH_FIELD_NUMBER, self.batch), *self.tangents):
            more_pieces, more_headers = tensor_map(number, arrays, attached)
            pieces += more_pieces
            headers = headers + more_headers
        return pieces, headers

    def with_content(self, missing: str) -> _Tensors | None:
        """The same with the content of what is missing, named ``hash/size``; None where that is not here."""
        if self.by_digest and missing == _written(address_of(self.network)):
            return replace(self, by_digest=False)
        if self.held is None or self.held.content is None or missing != _written(self.held.address):
            return None
        named, other, _ = _weights(self.held.content)
        return replace(self, weights=named, other_weights=other, held=None, keep=True)


def _written(address: tensor_pb2.Digest) -> str:
    """As errors name it."""
    return f"{address.hash}/{address.size_bytes}"


def _tensors(
    network: Network, weights: Weights | None, batch: Mapping[str, ArrayLike], is_held: IsHeld = _nothing_held
) -> _Tensors:
    """What the caller gave, as it is sent."""
    _checked_network(network)
    named, other, double = _weights(weights)
    if not isinstance(batch, Mapping):
        raise InvalidRequest.because("no batch", field="batch", given=type(batch).__name__, expected="arrays by name")
    declared = network.input_dtypes
    arrays = {
        _name(name, "batch"): batch_array(one, declared.get(name), double, f"batch.{name}")
        for name, one in batch.items()
    }
    by_digest = len(network.to_bytes()) >= SMALLEST_NETWORK and is_held(network)
    held = weights if isinstance(weights, HeldWeights) else None
    return _Tensors(network, named, other, arrays, by_digest, held, is_double=double)


def _by_name(arrays: Mapping[str, ArrayLike], argument: str) -> Mapping[str, ArrayLike]:
    if not isinstance(arrays, Mapping):
        raise InvalidRequest.because(
            "no arrays by name", field=argument, given=type(arrays).__name__, expected="arrays by name"
        )
    return arrays


def _like_weights(arrays: Mapping[str, ArrayLike], tensors: _Tensors, argument: str) -> dict[str, Array]:
    """Tangents of weights in the weights' types: float64 is narrowed where the weight is not float64."""
    known = tensors.weights or {}
    return {
        _name(name, argument): batch_array(
            one, None, known[name].dtype == np.float64 if name in known else tensors.is_double, f"{argument}.{name}"
        )
        for name, one in _by_name(arrays, argument).items()
    }


def _call(form: _Form[Answer], tensors: _Tensors, tail: list[Piece], signature: tuple[Hashable, ...]) -> Call[Answer]:
    """The call with these tensors, and what follows them in the request."""
    pieces, headers = tensors.pieces()
    pieces += tail
    compiled = (form.method, tensors.network, *signature, *headers)
    named = tensors.by_digest or tensors.held is not None
    more = partial(_call_with_content, form, tensors, tail, signature) if named else None
    if not form.part or tensors.nbytes <= STREAMED_BYTES:
        return Call(form.method, join(pieces), form.read, compiled, with_content=more, network=tensors.network)
    streamed = partial(_streamed, form, tensors, tail)
    message = partial(join, pieces)
    return Call(form.method, message, form.read, compiled, streamed, with_content=more, network=tensors.network)


def _call_with_content(
    form: _Form[Answer], tensors: _Tensors, tail: list[Piece], signature: tuple[Hashable, ...], missing: str
) -> Call[Answer] | None:
    more = tensors.with_content(missing)
    return None if more is None else _call(form, more, tail, signature)


def _streamed(form: _Form[Answer], tensors: _Tensors, tail: list[Piece]) -> Streamed[Answer]:
    """A call with its large tensors attached."""
    assert form.assemble is not None
    attached: list[Array] = []
    pieces, _ = tensors.pieces(attached)
    return Streamed(form.part, join(pieces + tail), attached, form.answer, form.assemble)


def _weights(
    weights: Weights | None,
) -> tuple[dict[str, Array] | None, tuple[list[Piece], list[bytes]] | None, bool]:
    """Arrays by name, or else the content of a `Weights` message; and whether they are float64."""
    if weights is None:
        return None, None, False
    if isinstance(weights, HeldWeights):
        return None, ([message_bytes(service_pb2.Weights(digest=weights.address))], [weights.start]), weights.is_double
    if isinstance(weights, Seeded):
        return None, ([message_bytes(service_pb2.Weights(seed=weights.seed))], [b"seed"]), False
    if isinstance(weights, (bytes, bytearray, memoryview)):
        content = bytes(weights)
        head = content[8 : 8 + int.from_bytes(content[:8], "little")]
        number = service_pb2.Weights.SAFETENSORS_FIELD_NUMBER
        return None, ([field(number, len(content)), content], [head]), is_double(head)
    if isinstance(weights, Mapping):
        for name in weights:
            _name(name, "weights")
        arrays, double = weight_arrays(weights)
        return arrays, None, double
    raise InvalidRequest.because(
        "no weights",
        field="weights",
        given=type(weights).__name__,
        expected="arrays by name, the bytes of a safetensors file, gs.seeded(0), or what client.put gave",
    )


def _network(network: Network) -> list[Piece]:
    """The network as a field, without a copy; it is field 1 of every request."""
    content = network.to_bytes()
    inner = field(_DEFINITIONS[network.format][1], len(content))
    return [field(_Gradients.NETWORK_FIELD_NUMBER, len(inner) + len(content)) + inner, content]


def _network_by_digest(network: Network) -> list[Piece]:
    """The address of the network as a field."""
    content = message_bytes(_Definition(digest=address_of(network), digest_format=_DIGEST_FORMATS[network.format]))
    return [field(_Gradients.NETWORK_FIELD_NUMBER, len(content)) + content]


def _definition(network: Network) -> network_pb2.NetworkDefinition:
    content: Any = _checked_network(network).to_bytes()
    if network.format == "onnx_text":
        content = content.decode(errors="replace")  # a message takes text as text
    return _Definition(**{_DEFINITIONS[network.format][0]: content})


def _checked_network(network: Network) -> Network:
    if not isinstance(network, Network):
        raise InvalidRequest.because(
            "no network",
            field="network",
            given=type(network).__name__,
            expected="a gs.Network, from gs.sequential, gs.GraphBuilder, gs.load, gs.load_onnx or gs.from_jax",
        )
    return network


def _checked(loss: Loss) -> Loss:
    if not isinstance(loss, Loss):
        raise InvalidRequest.because(
            "no loss",
            field="loss",
            given=type(loss).__name__,
            expected='a gs.Loss such as gs.softmax_cross_entropy(target="y")',
        )
    return loss


def _loss(loss: Loss, number: int) -> bytes:
    content = _checked(loss).to_bytes()
    return field(number, len(content)) + content


@lru_cache(maxsize=256)
def _selection(
    parameters: tuple[str, ...],
    inputs: tuple[str, ...],
    without_parameters: bool,
    summary_only: bool,
    clip_global_norm: float,
    per_example: bool,
    clip_example_norm: float,
    example_summary: bool,
    dtype: str | None,
    as_safetensors: bool,
    outputs: tuple[str, ...],
    shared: tuple[str, ...],
) -> bytes:
    """A ComputeGradientsRequest with the selection, the outputs and the shared tensors alone."""
    return message_bytes(
        _Gradients(
            gradients=service_pb2.GradientSelection(
                parameters=parameters,
                inputs=inputs,
                without_parameters=without_parameters,
                summary_only=summary_only,
                clip_global_norm=clip_global_norm,
                per_example=per_example,
                clip_example_norm=clip_example_norm,
                example_summary=example_summary,
                data_type=None if dtype is None else to_data_type(to_dtype(dtype)),
                as_safetensors=as_safetensors,
            ),
            outputs=outputs,
            shared=shared,
        )
    )


# Mode, precision, checkpointing and parts of the batch.
_How = tuple[Mode | None, Precision | None, Checkpointing | None, int]


def _parts(micro_batches: int | None) -> int:
    """Parts of the batch as the contract has them, 0 where it is not divided."""
    return 0 if micro_batches is None else whole(micro_batches, "micro_batches")


def _options(number: int, how: _How, seed: int, loss_scale: float | None = None) -> bytes:
    """The options as a field of a request."""
    return _options_field(number, _choices(how), whole(seed, "seed", _INTEGERS), _scale(loss_scale))


def _scale(loss_scale: float | None) -> float:
    """The loss scale as the contract has it, 0 where the server is to choose."""
    if loss_scale is None:
        return 0.0
    try:
        factor = float(loss_scale)
    except (TypeError, ValueError):
        factor = 0.0
    if not 0 < factor < math.inf:
        raise InvalidRequest.because(
            "not a factor", field="loss_scale", given=repr(loss_scale), expected="a finite number above 0"
        )
    return factor


@lru_cache(maxsize=256)
def _options_field(number: int, choices: _Choices, seed: int, loss_scale: float) -> bytes:
    mode, precision, checkpointing, micro_batches = choices
    content = message_bytes(
        _Options(
            mode=mode,
            precision=precision,
            checkpointing=checkpointing,
            seed=seed,
            loss_scale=loss_scale,
            micro_batches=micro_batches,
        )
    )
    return field(number, len(content)) + content


_Choices = tuple[_Options.Mode, _Options.Precision, _Options.Checkpointing, int]


def _choices(how: _How) -> _Choices:
    mode, precision, checkpointing, micro_batches = how
    return (
        _choice(_MODES, mode, "mode"),
        _choice(_PRECISIONS, precision, "precision"),
        _choice(_CHECKPOINTINGS, checkpointing, "checkpointing"),
        micro_batches,
    )


def _compute_options(how: _How, seed: int) -> service_pb2.ComputeOptions:
    mode, precision, checkpointing, micro_batches = _choices(how)
    return _Options(
        mode=mode,
        precision=precision,
        checkpointing=checkpointing,
        seed=whole(seed, "seed", _INTEGERS),
        micro_batches=micro_batches,
    )


_Number = TypeVar("_Number")


def _choice(choices: Mapping[Any, _Number], given: str | None, name: str) -> _Number:
    try:
        return choices[given]
    except (KeyError, TypeError):
        raise InvalidRequest.because(
            "no such choice",
            field=name,
            given=repr(given),
            expected=f"one of {', '.join(repr(one) for one in choices)}",
        ) from None


def _names(names: Iterable[str], argument: str) -> tuple[str, ...]:
    if names == ():
        return ()
    if isinstance(names, str):
        raise InvalidRequest.because(
            "a list of names is needed",
            field=argument,
            given=repr(names),
            expected=f"[{names!r}]",
        )
    return tuple(_name(one, argument) for one in names)


def _name(name: str, argument: str) -> str:
    if not isinstance(name, str):
        raise InvalidRequest.because("names are strings", field=argument, given=repr(name), expected="a string")
    return name

"""What is computed on: network, weights, batch, loss, as they are sent."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, final

import numpy as np

from gradserve.casting import batch_array, checked_name, weight_arrays
from gradserve.errors import InvalidRequest
from gradserve.held import SMALLEST_NETWORK, HeldWeights, address_of, is_double
from gradserve.losses import Loss
from gradserve.network import Format, Network
from gradserve.requests.call import Answer, Call, Form, Streamed
from gradserve.tensors import Array, ArrayLike, message_bytes
from gradserve.v1 import gradient_service_pb2 as service_pb2
from gradserve.v1 import network_pb2, tensor_pb2
from gradserve.weights import Seeded, Weights
from gradserve.wire import STREAMED_BYTES, Piece, field, join, nested, tensor_map

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

IsHeld = Callable[[Network], bool]
"""Whether the server was sent a network before."""


def nothing_held(_: Network) -> bool:
    """For a client that has sent none."""
    return False


@final
@dataclass(frozen=True, slots=True)
class Tensors:
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

    def with_content(self, missing: str) -> Tensors | None:
        """The same with the content of what is missing, named ``hash/size``; None where that is not here."""
        if self.by_digest and missing == _written(address_of(self.network)):
            return replace(self, by_digest=False)
        if self.held is None or self.held.content is None or missing != _written(self.held.address):
            return None
        named, other, _ = _weights(self.held.content)
        return replace(self, weights=named, other_weights=other, held=None, keep=True)


def tensors_of(
    network: Network, weights: Weights | None, batch: Mapping[str, ArrayLike], is_held: IsHeld = nothing_held
) -> Tensors:
    """What the caller gave, as it is sent."""
    _checked_network(network)
    named, other, double = _weights(weights)
    arrays = batch_arrays(batch, network, double, "batch")
    by_digest = len(network.to_bytes()) >= SMALLEST_NETWORK and is_held(network)
    held = weights if isinstance(weights, HeldWeights) else None
    return Tensors(network, named, other, arrays, by_digest, held, is_double=double)


def batch_arrays(arrays: Mapping[str, ArrayLike], network: Network, double: bool, argument: str) -> dict[str, Array]:
    """Inputs and targets, or tangents of inputs, by name as they are sent."""
    declared = network.input_dtypes
    return {
        checked_name(name, argument): batch_array(one, declared.get(name), double, f"{argument}.{name}")
        for name, one in _by_name(arrays, argument).items()
    }


def _by_name(arrays: Mapping[str, ArrayLike], argument: str) -> Mapping[str, ArrayLike]:
    if not isinstance(arrays, Mapping):
        raise InvalidRequest.because(
            "no arrays by name", field=argument, given=type(arrays).__name__, expected="arrays by name"
        )
    return arrays


def like_weights(arrays: Mapping[str, ArrayLike], tensors: Tensors, argument: str) -> dict[str, Array]:
    """Tangents of weights in the weights' types: float64 is narrowed where the weight is not float64."""
    known = tensors.weights or {}
    return {
        checked_name(name, argument): batch_array(
            one, None, known[name].dtype == np.float64 if name in known else tensors.is_double, f"{argument}.{name}"
        )
        for name, one in _by_name(arrays, argument).items()
    }


def call_of(form: Form[Answer], tensors: Tensors, tail: list[Piece], signature: tuple[Hashable, ...]) -> Call[Answer]:
    """The call with these tensors, and what follows them in the request."""
    pieces, headers = tensors.pieces()
    pieces += tail
    compiled = (form.method, tensors.network, *signature, *headers)
    named = tensors.by_digest or tensors.held is not None
    more = partial(_call_with_content, form, tensors, tail, signature) if named else None
    # Weights that are held do not go up, but their gradients come down.
    answered = tensors.held.size_bytes if tensors.held is not None else 0
    if not form.part or max(tensors.nbytes, answered) <= STREAMED_BYTES:
        return Call(form.method, join(pieces), form.read, compiled, with_content=more, network=tensors.network)
    streamed = partial(_streamed, form, tensors, tail)
    message = partial(join, pieces)
    return Call(form.method, message, form.read, compiled, streamed, with_content=more, network=tensors.network)


def _call_with_content(
    form: Form[Answer], tensors: Tensors, tail: list[Piece], signature: tuple[Hashable, ...], missing: str
) -> Call[Answer] | None:
    more = tensors.with_content(missing)
    return None if more is None else call_of(form, more, tail, signature)


def _streamed(form: Form[Answer], tensors: Tensors, tail: list[Piece]) -> Streamed[Answer]:
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
        arrays, double = weight_arrays(weights)
        return arrays, None, double
    raise InvalidRequest.because(
        "no weights",
        field="weights",
        given=type(weights).__name__,
        expected="arrays by name, the bytes of a safetensors file, gs.seeded(0), or what client.put gave",
    )


def _written(address: tensor_pb2.Digest) -> str:
    """As errors name it."""
    return f"{address.hash}/{address.size_bytes}"


def _network(network: Network) -> list[Piece]:
    """The network as a field, without a copy; it is field 1 of every request."""
    content = network.to_bytes()
    inner = field(_DEFINITIONS[network.format][1], len(content))
    return [field(_Gradients.NETWORK_FIELD_NUMBER, len(inner) + len(content)) + inner, content]


def _network_by_digest(network: Network) -> list[Piece]:
    """The address of the network as a field."""
    content = message_bytes(_Definition(digest=address_of(network), digest_format=_DIGEST_FORMATS[network.format]))
    return [field(_Gradients.NETWORK_FIELD_NUMBER, len(content)) + content]


def definition(network: Network) -> network_pb2.NetworkDefinition:
    """The network as a message."""
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


def checked_loss(loss: Loss) -> Loss:
    """The loss, if it is one."""
    if not isinstance(loss, Loss):
        raise InvalidRequest.because(
            "no loss",
            field="loss",
            given=type(loss).__name__,
            expected='a gs.Loss such as gs.softmax_cross_entropy(target="y")',
        )
    return loss


def loss_field(loss: Loss, number: int) -> bytes:
    """The loss as a field of a request."""
    content = checked_loss(loss).to_bytes()
    return field(number, len(content)) + content

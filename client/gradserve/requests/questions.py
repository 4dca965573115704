"""Questions about networks and servers, and fresh weights."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from gradserve.casting import checked_names
from gradserve.held import HeldWeights
from gradserve.layers import whole
from gradserve.losses import Loss
from gradserve.network import Network
from gradserve.requests.call import Call
from gradserve.requests.content import checked_loss, definition
from gradserve.requests.options import LEAST_INTEGER, Checkpointing, Mode, Precision, compute_options, parts_of
from gradserve.results import NetworkDescription, ServerInfo, parse, read_description, read_server_info, read_weights
from gradserve.tensors import Array, message_bytes
from gradserve.v1 import gradient_service_pb2 as service_pb2


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
        network=definition(network),
        dimensions={name: whole(one, f"dimensions.{name}") for name, one in (dimensions or {}).items()},
    )
    if mode or precision or checkpointing or micro_batches:
        request.options.CopyFrom(compute_options((mode, precision, checkpointing, parts_of(micro_batches), False), 0))
    if loss is not None:
        request.loss.CopyFrom(checked_loss(loss).message)
    selection = service_pb2.GradientSelection(
        parameters=checked_names(parameters, "parameters"), inputs=checked_names(inputs, "inputs")
    )
    if selection.parameters or selection.inputs:
        request.gradients.CopyFrom(selection)
    message = message_bytes(request)
    return Call("DescribeNetwork", message, read_description, ("DescribeNetwork", message))


def initialize(network: Network, seed: int = 0) -> Call[dict[str, Array]]:
    """InitializeWeights; the arguments are those of `Client.initialize`."""
    request = service_pb2.InitializeWeightsRequest(network=definition(network), seed=whole(seed, "seed", LEAST_INTEGER))
    signature = ("InitializeWeights", network)
    return Call("InitializeWeights", message_bytes(request), read_weights, signature)


def put_fresh(network: Network, seed: int = 0) -> Call[HeldWeights]:
    """InitializeWeights that keeps them; the arguments are those of `Client.put_fresh`."""
    request = service_pb2.InitializeWeightsRequest(
        network=definition(network), seed=whole(seed, "seed", LEAST_INTEGER), keep_only=True
    )
    return Call("InitializeWeights", message_bytes(request), _read_held, ("InitializeWeights", network))


def server_info() -> Call[ServerInfo]:
    """GetServerInfo."""
    return Call("GetServerInfo", b"", read_server_info)


def _read_held(content: bytes) -> HeldWeights:
    digest = parse(service_pb2.InitializeWeightsResponse, content).digest
    return HeldWeights(digest.hash, digest.size_bytes, None, b"")

"""The loss and its gradients, the outputs alone, and every value on the way."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache

from gradserve.casting import checked_names
from gradserve.layers import whole
from gradserve.losses import Loss
from gradserve.network import Network
from gradserve.requests.call import Call, Form
from gradserve.requests.content import IsHeld, call_of, loss_field, nothing_held, tensors_of
from gradserve.requests.options import Checkpointing, Mode, Precision, options_field, parts_of
from gradserve.results import ForwardResult, GradientResult, forward_of, gradients_of, read_forward, read_gradients
from gradserve.tensors import ArrayLike, DTypeLike, message_bytes, to_data_type, to_dtype
from gradserve.traces import TraceResult, read_trace
from gradserve.v1 import gradient_service_pb2 as service_pb2
from gradserve.weights import Weights
from gradserve.wire import Piece

_Gradients = service_pb2.ComputeGradientsRequest
_Forward = service_pb2.ForwardRequest
_Trace = service_pb2.TraceRequest

_GRADIENTS_FORM = Form(
    "ComputeGradients", read_gradients, "compute_gradients", service_pb2.ComputeGradientsResponse, gradients_of
)
_FORWARD_FORM = Form("Forward", read_forward, "forward", service_pb2.ForwardResponse, forward_of)
_TRACE_FORM = Form("Trace", read_trace)


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
    exact_batch: bool = False,
    is_held: IsHeld = nothing_held,
) -> Call[GradientResult]:
    """ComputeGradients; the arguments are those of `Client.gradients`, and which networks the server holds."""
    rest = _selection(
        checked_names(parameters, "parameters"),
        checked_names(inputs, "inputs"),
        without_parameters,
        summary_only,
        clip_global_norm or 0.0,
        per_example,
        clip_example_norm or 0.0,
        example_summary,
        None if dtype is None else to_dtype(dtype, "dtype").name,
        as_safetensors,
        checked_names(outputs, "outputs"),
        checked_names(shared, "shared"),
    )
    how = (mode, precision, checkpointing, parts_of(micro_batches), exact_batch)
    tail: list[Piece] = [
        loss_field(loss, _Gradients.LOSS_FIELD_NUMBER),
        rest,
        options_field(_Gradients.OPTIONS_FIELD_NUMBER, how, seed, loss_scale),
    ]
    return call_of(_GRADIENTS_FORM, tensors_of(network, weights, batch, is_held), tail, (loss.form, rest, how))


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
    exact_batch: bool = False,
    micro_batches: int | None = None,
    is_held: IsHeld = nothing_held,
) -> Call[ForwardResult]:
    """Forward; the arguments are those of `Client.forward`, and which networks the server holds."""
    rest = message_bytes(_Forward(outputs=checked_names(outputs, "outputs")))
    how = (mode, precision, None, parts_of(micro_batches), exact_batch)
    tail: list[Piece] = [rest, options_field(_Forward.OPTIONS_FIELD_NUMBER, how, seed)]
    if loss is not None:
        tail.append(loss_field(loss, _Forward.LOSS_FIELD_NUMBER))
    return call_of(_FORWARD_FORM, tensors_of(network, weights, batch, is_held), tail, (loss and loss.form, rest, how))


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
    is_held: IsHeld = nothing_held,
) -> Call[TraceResult]:
    """Trace; the arguments are those of `Client.trace`, and which networks the server holds."""
    most = whole(whole_tensors_up_to, "whole_tensors_up_to", 0)
    rest = message_bytes(_Trace(whole_tensors_up_to=most, names=checked_names(names, "names")))
    how = (mode, precision, None, 0, False)
    tail: list[Piece] = [
        loss_field(loss, _Trace.LOSS_FIELD_NUMBER),
        rest,
        options_field(_Trace.OPTIONS_FIELD_NUMBER, how, seed, loss_scale),
    ]
    return call_of(_TRACE_FORM, tensors_of(network, weights, batch, is_held), tail, (loss.form, rest, how))


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

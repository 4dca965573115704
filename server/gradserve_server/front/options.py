"""Which gradients a request asks for, and how to compute them."""

from __future__ import annotations

import functools
import math

import numpy as np

from gradserve.v1 import gradient_service_pb2 as service
from gradserve_server.common.errors import Problem, Reason
from gradserve_server.common.specs import LOSS_SCALE, Checkpointing, Mode, Options, Precision, Selection
from gradserve_server.common.unknown_fields import refuse_unknown
from gradserve_server.front.tensors import DTYPES, FLOATING, Array

_MODES = {
    service.ComputeOptions.MODE_UNSPECIFIED: Mode.UNSPECIFIED,
    service.ComputeOptions.MODE_INFERENCE: Mode.INFERENCE,
    service.ComputeOptions.MODE_TRAINING: Mode.TRAINING,
}
_CHECKPOINTINGS = {
    service.ComputeOptions.CHECKPOINTING_UNSPECIFIED: Checkpointing.AUTOMATIC,
    service.ComputeOptions.CHECKPOINTING_OFF: Checkpointing.OFF,
    service.ComputeOptions.CHECKPOINTING_PRODUCTS: Checkpointing.PRODUCTS,
    service.ComputeOptions.CHECKPOINTING_BLOCKS: Checkpointing.BLOCKS,
    service.ComputeOptions.CHECKPOINTING_SQRT: Checkpointing.SQRT,
}
_PRECISIONS = {
    service.ComputeOptions.PRECISION_UNSPECIFIED: Precision.FULL,
    service.ComputeOptions.PRECISION_BFLOAT16: Precision.BFLOAT16,
    service.ComputeOptions.PRECISION_FLOAT16: Precision.FLOAT16,
}
CHECKPOINTING_NUMBERS = {choice: number for number, choice in _CHECKPOINTINGS.items()}
# Where none is given: half of float16's largest power of two, as a loss is about 1.
_LOSS_SCALE = 2.0**15
# What is larger is converted each time, so that callers cannot fill the memory with it.
_MOST_CACHED_BYTES = 4096


def selection_of(message: service.GradientSelection) -> Selection:
    """What `message` selects."""
    content = message.SerializeToString(deterministic=True)
    return _selection(content) if len(content) <= _MOST_CACHED_BYTES else _selection.__wrapped__(content)


@functools.lru_cache(maxsize=1024)
def _selection(content: bytes) -> Selection:
    message = service.GradientSelection.FromString(content)
    refuse_unknown(message, "gradients")
    _check_norms(message)
    dtype = None
    if message.data_type:
        dtype = DTYPES[message.data_type]
        if dtype not in FLOATING:
            raise Problem(
                Reason.INVALID_VALUE,
                "gradients are floating-point numbers",
                field="gradients.data_type",
                given=str(dtype),
                expected="float16, bfloat16, float32 or float64",
            )
    return Selection(
        parameters=tuple(message.parameters),
        inputs=tuple(message.inputs),
        without_parameters=message.without_parameters,
        summary_only=message.summary_only,
        clip_global_norm=message.clip_global_norm,
        dtype=None if dtype is None else dtype.name,
        per_example=message.per_example,
        clip_example_norm=message.clip_example_norm,
        example_summary=message.example_summary,
    )


def _check_norms(message: service.GradientSelection) -> None:
    for name in ("clip_global_norm", "clip_example_norm"):
        most = getattr(message, name)
        if not (math.isfinite(most) and most >= 0):
            raise Problem(
                Reason.INVALID_VALUE,
                "not a norm",
                field=f"gradients.{name}",
                given=str(most),
                expected="a finite number of at least 0",
            )
    if message.clip_example_norm and message.without_parameters:
        raise Problem(
            Reason.INVALID_VALUE,
            "there are no gradients of parameters to scale",
            field="gradients.clip_example_norm",
            given=str(message.clip_example_norm),
            expected="0, or gradients of parameters",
        )
    if message.per_example and message.clip_global_norm:
        raise Problem(
            Reason.INVALID_VALUE,
            "of many gradients there is no norm of all to clip",
            field="gradients.clip_global_norm",
            given=str(message.clip_global_norm),
            expected="0",
            hint="`clip_example_norm` scales each example's.",
        )


def options_of(message: service.ComputeOptions) -> Options:
    """How `message` asks to compute."""
    # Seed and loss scale change from call to call, and are not looked at here.
    settled = message
    if message.seed or message.loss_scale:
        settled = service.ComputeOptions()
        settled.CopyFrom(message)
        settled.ClearField("seed")
        settled.ClearField("loss_scale")
    content = settled.SerializeToString(deterministic=True)
    return _options(content) if len(content) <= _MOST_CACHED_BYTES else _options.__wrapped__(content)


@functools.lru_cache(maxsize=1024)
def _options(content: bytes) -> Options:
    message = service.ComputeOptions.FromString(content)
    refuse_unknown(message, "options")
    if message.micro_batches < 0:
        raise Problem(
            Reason.INVALID_VALUE,
            "not a number of parts",
            field="options.micro_batches",
            given=str(message.micro_batches),
            expected="at least 0",
        )
    return Options(
        mode=_MODES[message.mode],
        checkpointing=_CHECKPOINTINGS[message.checkpointing],
        precision=_PRECISIONS[message.precision],
        micro_batches=max(message.micro_batches, 1),
        exact_batch=message.exact_batch,
    )


def loss_scale_of(message: service.ComputeOptions) -> dict[str, Array]:
    """The number that the loss is multiplied by on its way back, at its place; nothing where it is not.

    Raises:
        Problem: it is no factor, or goes with another type than float16.
    """
    scale = message.loss_scale
    if message.precision != service.ComputeOptions.PRECISION_FLOAT16:
        if scale:
            raise Problem(
                Reason.INVALID_VALUE,
                "only float16 has gradients that a scaled loss keeps from vanishing",
                field=LOSS_SCALE,
                given=str(scale),
                expected="0, or PRECISION_FLOAT16",
            )
        return {}
    if not (math.isfinite(scale) and scale >= 0):
        raise Problem(
            Reason.INVALID_VALUE,
            "not a factor",
            field=LOSS_SCALE,
            given=str(scale),
            expected="a finite number above 0, or 0 for 2^15",
        )
    return {LOSS_SCALE: np.asarray(scale or _LOSS_SCALE, np.float64)}


def not_served_yet(field: str) -> Problem:
    """An option of the contract that is not served yet."""
    return Problem(Reason.UNSUPPORTED_OPTION, "this option is not served yet", field=field)

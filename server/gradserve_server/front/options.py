"""Which gradients a request asks for, and how to compute them."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from typing import Any

from gradserve.v1 import gradient_service_pb2 as service
from gradserve_server.common.errors import Problem, Reason
from gradserve_server.common.specs import Checkpointing, Mode, Options, Selection
from gradserve_server.common.unknown_fields import refuse_unknown
from gradserve_server.front.tensors import DTYPES, FLOATING

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
CHECKPOINTING_NUMBERS = {choice: number for number, choice in _CHECKPOINTINGS.items()}
# Options of the contract that are not served yet, each with what it is when it asks for nothing.
_LATER_SELECTION = {"per_example": False, "clip_example_norm": 0.0, "example_summary": False}
_LATER_OPTIONS = {"precision": 0, "loss_scale": 0.0}
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
    _refusenot_served_yet(message, _LATER_SELECTION, "gradients")
    clip = message.clip_global_norm
    if not (math.isfinite(clip) and clip >= 0):
        raise Problem(
            Reason.INVALID_VALUE,
            "not a norm",
            field="gradients.clip_global_norm",
            given=str(clip),
            expected="a finite number of at least 0",
        )
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
        clip_global_norm=clip,
        dtype=None if dtype is None else dtype.name,
    )


def options_of(message: service.ComputeOptions) -> Options:
    """How `message` asks to compute."""
    # The seed changes from call to call, and is not looked at here.
    settled = message
    if message.seed:
        settled = service.ComputeOptions()
        settled.CopyFrom(message)
        settled.ClearField("seed")
    content = settled.SerializeToString(deterministic=True)
    return _options(content) if len(content) <= _MOST_CACHED_BYTES else _options.__wrapped__(content)


@functools.lru_cache(maxsize=1024)
def _options(content: bytes) -> Options:
    message = service.ComputeOptions.FromString(content)
    refuse_unknown(message, "options")
    _refusenot_served_yet(message, _LATER_OPTIONS, "options")
    if message.micro_batches < 0:
        raise Problem(
            Reason.INVALID_VALUE,
            "not a number of parts",
            field="options.micro_batches",
            given=str(message.micro_batches),
            expected="at least 0",
        )
    if message.micro_batches > 1:
        raise not_served_yet("options.micro_batches")
    return Options(mode=_MODES[message.mode], checkpointing=_CHECKPOINTINGS[message.checkpointing])


def _refusenot_served_yet(message: Any, later: Mapping[str, Any], field: str) -> None:
    for name, nothing in later.items():
        if getattr(message, name) != nothing:
            raise not_served_yet(f"{field}.{name}")


def not_served_yet(field: str) -> Problem:
    """An option of the contract that is not served yet."""
    return Problem(Reason.UNSUPPORTED_OPTION, "this option is not served yet", field=field)

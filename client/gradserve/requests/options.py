"""How something is computed: mode, precision, checkpointing, parts of the batch, seed, loss scale."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Literal, TypeVar

from gradserve.errors import InvalidRequest
from gradserve.layers import whole
from gradserve.tensors import message_bytes
from gradserve.v1 import gradient_service_pb2 as service_pb2
from gradserve.wire import field

Mode = Literal["training", "inference"]
Precision = Literal["bfloat16", "float16"]
Checkpointing = Literal["off", "products", "blocks", "sqrt"]

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
LEAST_INTEGER = -(2**63)

# Mode, precision, checkpointing, parts of the batch, and whether it is taken in exactly its own size.
How = tuple[Mode | None, Precision | None, Checkpointing | None, int, bool]
_Choices = tuple[_Options.Mode, _Options.Precision, _Options.Checkpointing, int, bool]

_Number = TypeVar("_Number")


def parts_of(micro_batches: int | None) -> int:
    """Parts of the batch as the contract has them, 0 where it is not divided."""
    return 0 if micro_batches is None else whole(micro_batches, "micro_batches")


def options_field(number: int, how: How, seed: int, loss_scale: float | None = None) -> bytes:
    """The options as a field of a request."""
    return _cached_options(number, _choices(how), whole(seed, "seed", LEAST_INTEGER), _scale(loss_scale))


def compute_options(how: How, seed: int) -> service_pb2.ComputeOptions:
    """The options as a message."""
    mode, precision, checkpointing, micro_batches, exact_batch = _choices(how)
    return _Options(
        mode=mode,
        precision=precision,
        checkpointing=checkpointing,
        seed=whole(seed, "seed", LEAST_INTEGER),
        micro_batches=micro_batches,
        exact_batch=exact_batch,
    )


def choice(choices: Mapping[Any, _Number], given: str | None, name: str) -> _Number:
    """What stands for `given` in the contract."""
    try:
        return choices[given]
    except (KeyError, TypeError):
        raise InvalidRequest.because(
            "no such choice",
            field=name,
            given=repr(given),
            expected=f"one of {', '.join(repr(one) for one in choices)}",
        ) from None


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
def _cached_options(number: int, choices: _Choices, seed: int, loss_scale: float) -> bytes:
    mode, precision, checkpointing, micro_batches, exact_batch = choices
    content = message_bytes(
        _Options(
            mode=mode,
            precision=precision,
            checkpointing=checkpointing,
            seed=seed,
            loss_scale=loss_scale,
            micro_batches=micro_batches,
            exact_batch=exact_batch,
        )
    )
    return field(number, len(content)) + content


def _choices(how: How) -> _Choices:
    mode, precision, checkpointing, micro_batches, exact_batch = how
    return (
        choice(_MODES, mode, "mode"),
        choice(_PRECISIONS, precision, "precision"),
        choice(_CHECKPOINTINGS, checkpointing, "checkpointing"),
        micro_batches,
        exact_batch,
    )

"""Weights: named arrays, safetensors files, or a seed from which the server draws fresh ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, final

import numpy as np
from safetensors import SafetensorError, deserialize
from safetensors.numpy import save as write_safetensors

from gradserve.errors import InvalidRequest
from gradserve.files import FilePath
from gradserve.layers import whole
from gradserve.tensors import Array, ArrayLike, to_array, to_dtype

if TYPE_CHECKING:
    from gradserve.held import HeldWeights

FILE_DTYPES = {
    "BOOL": "bool",
    "I8": "int8",
    "I16": "int16",
    "I32": "int32",
    "I64": "int64",
    "U8": "uint8",
    "U16": "uint16",
    "U32": "uint32",
    "U64": "uint64",
    "F16": "float16",
    "BF16": "bfloat16",
    "F32": "float32",
    "F64": "float64",
}
"""Element types by their names in safetensors files."""


@final
@dataclass(frozen=True, slots=True)
class Seeded:
    """Weights that the server draws from a seed, as `initialize` would, without sending them."""

    seed: int


def seeded(seed: int = 0) -> Seeded:
    """Fresh weights, drawn by the server: goes wherever weights do.

    Example:
        >>> client.gradients(net, gs.seeded(0), batch, loss=gs.squared_error("y"))
    """
    return Seeded(whole(seed, "weights.seed", -(2**63)))


Weights: TypeAlias = "Mapping[str, ArrayLike] | bytes | Seeded | HeldWeights"
"""What calls take as weights: arrays by name, the bytes of a safetensors file, `seeded`, or what `Client.put` gave."""


def save_weights(weights: Mapping[str, ArrayLike], path: FilePath) -> None:
    """Writes weights (or gradients) as a safetensors file.

    Args:
        weights: arrays by name.
        path: the file.

    Raises:
        InvalidRequest: an array is none, or its element type does not travel.
        OSError: the file cannot be written.
    """
    Path(path).write_bytes(to_safetensors(weights))


def load_weights(path: FilePath) -> dict[str, Array]:
    """Reads a safetensors file: arrays by name, writable.

    Raises:
        InvalidRequest: it is no safetensors file, or holds an element type that does not travel.
        OSError: the file cannot be read.
    """
    return from_safetensors(Path(path).read_bytes(), str(path))


def to_safetensors(weights: Mapping[str, ArrayLike]) -> bytes:
    """Arrays by name as the bytes of a safetensors file."""
    arrays = {name: to_array(one, f"weights.{name}") for name, one in weights.items()}
    return bytes(write_safetensors({name: np.asarray(one) for name, one in arrays.items()}))


def from_safetensors(content: bytes, field: str = "safetensors") -> dict[str, Array]:
    """Arrays by name, in order of name, from the bytes of a safetensors file; writable.

    Raises:
        InvalidRequest: it is no such file, or holds an element type that does not travel.
    """
    try:
        entries: list[tuple[str, dict[str, Any]]] = deserialize(content)
    except SafetensorError as error:
        raise InvalidRequest.because(
            f"no safetensors file ({error})", field=field, given=f"{len(content)} bytes"
        ) from None
    arrays: dict[str, Array] = {}
    for name, entry in sorted(entries, key=itemgetter(0)):
        if entry["dtype"] not in FILE_DTYPES:
            raise InvalidRequest.because(
                "elements of this type do not travel",
                field=f"{field}: {name}",
                given=entry["dtype"],
                expected=f"one of {', '.join(FILE_DTYPES)}",
            )
        dtype = to_dtype(FILE_DTYPES[entry["dtype"]]).newbyteorder("<")
        data = bytearray(entry["data"]) if isinstance(entry["data"], bytes) else entry["data"]
        arrays[name] = np.frombuffer(data, dtype).reshape(entry["shape"])
    return arrays

"""Which element type a tensor is sent with, where the caller left it open.

NumPy makes float64 of everything, and networks are float32: without these rules every first call
of a beginner would be refused. Nothing else is ever narrowed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from gradserve.errors import InvalidRequest
from gradserve.tensors import Array, ArrayLike, has_dtype, to_array

_FLOAT32 = np.dtype(np.float32)
_FLOAT64 = np.dtype(np.float64)


def batch_array(value: ArrayLike, declared: np.dtype[Any] | None, double: bool, field: str) -> Array:
    """A tensor of the batch as it is sent.

    | given                    | sent                                                             |
    |--------------------------|------------------------------------------------------------------|
    | an array of float64      | float32 where float32 or nothing is declared, unless `double`    |
    | any other array          | as it is                                                         |
    | floats in lists          | as declared, if that is a floating-point type; float32 (float64  |
    |                          | if `double`) where nothing is declared                           |
    | integers in lists        | as declared; int64 where nothing is declared                     |
    | booleans in lists        | as booleans                                                      |

    What does not fit even so is sent as it is, for the server to say what it expects.

    Args:
        value: what the caller gave.
        declared: element type of the network's input of that name; None for targets.
        double: whether the weights are float64.
        field: its path, for errors.

    Raises:
        InvalidRequest: no array can be made of it, or its integers do not fit the declared type.
    """
    array = to_array(value, field)
    if has_dtype(value):
        # `declared == None` would be true for float64, which is what NumPy makes of None.
        wanted = declared is None or declared == _FLOAT32
        if array.dtype == _FLOAT64 and wanted and not double:
            return array.astype(_FLOAT32)
        return array
    if declared is None:
        return _as_weights(array, double) if array.dtype == _FLOAT64 else array
    if array.dtype.kind == "b" or (array.dtype.kind == "f" and array.size and _whole(declared)):
        return array
    if array.dtype.kind == "i" and declared.kind in "iu":
        return _narrow(array, declared, field)
    return array if declared.kind == "b" else array.astype(declared)


def weight_arrays(weights: Mapping[str, ArrayLike]) -> tuple[dict[str, Array], bool]:
    """Weights as they are sent, and whether any is float64.

    Arrays go as they are, numbers and lists in the type of the others: float64 if one of them is,
    float32 otherwise.

    Args:
        weights: what the caller gave, by name.

    Raises:
        InvalidRequest: no array can be made of one, or a name is no string.
    """
    arrays: dict[str, Array] = {}
    untyped = []
    double = False
    for name, value in weights.items():
        checked_name(name, "weights")
        array = arrays[name] = to_array(value, f"weights.{name}")
        if not has_dtype(value):
            untyped.append(name)
        elif array.dtype == _FLOAT64:
            double = True
    for name in untyped:
        arrays[name] = _as_weights(arrays[name], double)
    return arrays, double


def checked_names(names: Iterable[str], argument: str) -> tuple[str, ...]:
    """Names as a tuple.

    Raises:
        InvalidRequest: they are one string, or no strings.
    """
    if names == ():
        return ()
    if isinstance(names, str):
        raise InvalidRequest.because(
            "a list of names is needed",
            field=argument,
            given=repr(names),
            expected=f"[{names!r}]",
        )
    return tuple(checked_name(one, argument) for one in names)


def checked_name(name: str, argument: str) -> str:
    """The name.

    Raises:
        InvalidRequest: it is no string.
    """
    if not isinstance(name, str):
        raise InvalidRequest.because("names are strings", field=argument, given=repr(name), expected="a string")
    return name


def _as_weights(array: Array, double: bool) -> Array:
    return array.astype(_FLOAT64 if double else _FLOAT32)


def _whole(dtype: np.dtype[Any]) -> bool:
    return dtype.kind in "iub"


def _narrow(array: Array, declared: np.dtype[Any], field: str) -> Array:
    limits = np.iinfo(declared)
    if array.size and not (limits.min <= int(array.min()) and int(array.max()) <= limits.max):
        raise InvalidRequest.because(
            "an integer does not fit the input's element type",
            field=field,
            given=f"{array.min()} to {array.max()}",
            expected=f"{limits.min} to {limits.max} ({declared})",
        )
    return array.astype(declared)

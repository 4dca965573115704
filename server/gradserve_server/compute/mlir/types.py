"""Types of a module: which there are, how large they are, and what the artifact says they must be."""

from __future__ import annotations

import math
from typing import Any

import msgspec
from jaxlib.mlir import ir

_BYTES = {
    **dict.fromkeys(("i1", "i8", "ui8"), 1),
    **dict.fromkeys(("i16", "ui16", "f16", "bf16"), 2),
    **dict.fromkeys(("i32", "ui32", "f32"), 4),
    **dict.fromkeys(("i64", "ui64", "f64", "complex<f32>"), 8),
    "complex<f64>": 16,
}
_OF_NUMPY = {
    **{f"{kind}int{bits}": f"{kind}i{bits}" for kind in ("", "u") for bits in (8, 16, 32, 64)},
    **{f"{name}{bits}": f"{letter}{bits}" for name, letter, bits in (
        ("float", "f", 16), ("bfloat", "bf", 16), ("float", "f", 32), ("float", "f", 64)
    )},
    "bool": "i1",
}  # fmt: skip
# Element type of the argument by which a function for several platforms is told which one it is on.
INDEX = "index"


class Form(msgspec.Struct, frozen=True, array_like=True):
    """Element type (as NumPy names it) and sizes of a tensor; None for a size that the batch decides."""

    dtype: str
    shape: tuple[int | None, ...]


def bytes_of(type_: Any) -> int | None:
    """Bytes of a tensor, 0 where the batch decides; None for a type that is none of ours."""
    form = sizes_of(type_)
    if form is None:
        return None
    element, sizes = form
    return 0 if None in sizes else _BYTES[element] * math.prod(size for size in sizes if size is not None)


def sizes_of(type_: Any) -> tuple[str, tuple[int | None, ...]] | None:
    if not isinstance(type_, ir.RankedTensorType):
        return None
    element = str(type_.element_type)
    if element not in _BYTES or type_.encoding is not None:
        return None
    return element, tuple(
        None if type_.is_dynamic_dim(axis) else type_.get_dim_size(axis) for axis in range(type_.rank)
    )


def static_form(type_: Any) -> tuple[str, tuple[int, ...]] | None:
    """Element type and sizes where all are known."""
    form = sizes_of(type_)
    if form is None or None in form[1]:
        return None
    return form[0], tuple(size for size in form[1] if size is not None)


def agrees(type_: Any, form: Form) -> bool:
    found = sizes_of(type_)
    if form.dtype == INDEX:
        return found in (("i32", ()), ("i64", ()))
    return found is not None and found == (_OF_NUMPY.get(form.dtype, form.dtype), form.shape)


def name_of(type_: Any) -> str:
    """What to call a type that is none of ours; others than tensors can be too long to write out."""
    if isinstance(type_, ir.RankedTensorType) and type_.encoding is None:
        return str(type_.element_type)
    return type(type_).__name__

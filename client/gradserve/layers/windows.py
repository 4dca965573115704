"""Windows over the spatial axes of a channels-last tensor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from gradserve.errors import InvalidRequest
from gradserve.layers.base import whole
from gradserve.v1 import network_pb2

Sizes = int | Sequence[int]
"""One size for each spatial axis; a single integer stands for two equal ones (images)."""

Padding = Literal["same", "valid"]

_PADDINGS = {
    "same": network_pb2.Window.PADDING_SAME,
    "valid": network_pb2.Window.PADDING_VALID,
}


def window(field: str, size: Sizes, stride: Sizes | None, dilation: Sizes | None, padding: str) -> network_pb2.Window:
    """A window, of which `field` says whose it is."""
    if padding not in _PADDINGS:
        raise InvalidRequest.because(
            "no such padding",
            field=f"{field}.padding",
            given=repr(padding),
            expected='"same" or "valid"',
        )
    extent = [whole(one, f"{field}.size") for one in ((size, size) if _single(size) else size)]  # type: ignore[union-attr]

    def spread(sizes: Sizes | None, name: str) -> list[int]:
        if sizes is None:
            return []
        given = [sizes] * len(extent) if _single(sizes) else list(sizes)  # type: ignore[arg-type]
        if len(given) != len(extent):
            raise InvalidRequest.because(
                "one number for each axis of the window is needed",
                field=f"{field}.{name}",
                given=given,
                expected=f"{len(extent)} numbers",
            )
        return [whole(one, f"{field}.{name}") for one in given]

    return network_pb2.Window(
        size=extent,
        stride=spread(stride, "stride"),
        dilation=spread(dilation, "dilation"),
        padding=_PADDINGS[padding],
    )


def _single(sizes: Sizes) -> bool:
    return not isinstance(sizes, Sequence)

"""Windows over the spatial axes of a channels-last tensor."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from gradserve.v1 import network_pb2
from gradserve_server.compute.frontends.graph.call import Call

_SAME = network_pb2.Window.PADDING_SAME


@dataclasses.dataclass(frozen=True)
class Window:
    """Extent, step, spacing and padding along each spatial axis."""

    size: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    padding: str


def read_window(
    call: Call[Any], message: network_pb2.Window, spatial: int, default_stride: tuple[int, ...] | None
) -> Window:
    """The window in `message` over so many axes.

    Args:
        call: the call, for its errors.
        message: the window.
        spatial: number of spatial axes.
        default_stride: step where there is none; the size if None.
    """
    size = _sizes(call, "size", message.size, spatial, None)
    stride = _sizes(call, "stride", message.stride, spatial, default_stride or size)
    dilation = _sizes(call, "dilation", message.dilation, spatial, (1,) * spatial)
    return Window(size, stride, dilation, "SAME" if message.padding == _SAME else "VALID")


def _sizes(
    call: Call[Any], field: str, given: Sequence[int], spatial: int, default: tuple[int, ...] | None
) -> tuple[int, ...]:
    if not given and default is not None:
        return default
    if len(given) != spatial or any(not 1 <= one < 1 << 31 for one in given):
        raise call.refuse(
            f"window.{field}",
            "not one size for each spatial axis",
            given=str(list(given)),
            expected=f"{spatial} sizes of at least 1",
        )
    return tuple(given)

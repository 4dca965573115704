"""Windows over the spatial axes of a channels-last tensor."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax

from gradserve.v1 import network_pb2
from gradserve_server.compute.frontends.graph.call import Call

# A larger extent would overflow the indices of what computes it.
_MOST = 2**31 - 1


@dataclasses.dataclass(frozen=True)
class Window:
    """Extent, step and spacing, with one entry for each spatial axis.

    Attributes:
        size: elements of the window.
        stride: step from one window to the next.
        dilation: distance between elements of one window.
        same: whether the edges are padded.
    """

    size: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    same: bool

    @property
    def extent(self) -> tuple[int, ...]:
        """From the first to the last element of a window, both included."""
        return tuple((size - 1) * step + 1 for size, step in zip(self.size, self.dilation, strict=True))

    @property
    def rule(self) -> str:
        """The padding, as JAX names it."""
        return "SAME" if self.same else "VALID"

    @property
    def transposed_padding(self) -> list[tuple[int, int]]:
        """For each spatial axis, zeros around the spread-out elements of which a transposed convolution sees windows.

        With padding the result has size * stride positions, else all that an element reaches.
        """
        pads = []
        for extent, stride in zip(self.extent, self.stride, strict=True):
            total = extent + stride - 2 + (0 if self.same else max(extent - stride, 0))
            centred = self.same and stride < extent
            before = -(-total // 2) if centred else extent - 1
            pads.append((before, total - before))
        return pads

    def place(self, space: Sequence[Any]) -> list[tuple[Any, Any, Any]]:
        """For each spatial axis: padding before it, padding after it, number of windows.

        With padding there are ceil(size / stride) windows, and where the padding is odd the end gets more of it.
        """
        pads: Any = jax.lax.padtype_to_pads(space, self.extent, self.stride, self.rule)
        places = []
        for size, extent, stride, (low, high) in zip(space, self.extent, self.stride, pads, strict=True):
            places.append((low, high, (size + low + high - extent) // stride + 1))
        return places


def read_window(
    call: Call[Any],
    window: network_pb2.Window,
    space: Sequence[Any],
    *,
    stride_is_size: bool,
    fits: bool = True,
) -> Window:
    """The windows of `call` over axes of these sizes; where no stride is set it is 1, or the window's size.

    Args:
        call: the call, for its errors.
        window: the message.
        space: sizes of the spatial axes.
        stride_is_size: whether the step is the window's size where it is not set, and not 1.
        fits: whether a window without padding may not be larger than space.
    """
    size = _entries(call, "window.size", window.size, len(space))
    if not size:
        raise call.refuse("window.size", "the window has no size", expected=f"{len(space)} entries")
    ones = (1,) * len(size)
    stride = _entries(call, "window.stride", window.stride, len(space)) or (size if stride_is_size else ones)
    dilation = _entries(call, "window.dilation", window.dilation, len(space)) or ones
    checked = Window(size, stride, dilation, window.padding == network_pb2.Window.PADDING_SAME)
    for index, extent in enumerate(checked.extent):
        if extent > _MOST:
            field = "window.dilation" if size[index] <= _MOST else "window.size"
            raise call.refuse(field, "the window is too large", given=str(extent), expected=f"at most {_MOST}")
        if fits and not checked.same and isinstance(space[index], int) and extent > space[index]:
            raise call.refuse(
                "window.size",
                f"the window does not fit into spatial axis {index}",
                given=str(extent),
                expected=f"at most {space[index]}",
                hint="With padding `same` it may reach over the edge.",
            )
    return checked


def _entries(call: Call[Any], field: str, given: Sequence[int], count: int) -> tuple[int, ...]:
    if not given:
        return ()
    if len(given) != count:
        raise call.refuse(
            field,
            "not one size for each spatial axis",
            given=str(list(given)),
            expected=f"{count} sizes of at least 1",
        )
    for entry in given:
        if not 1 <= entry <= _MOST:
            raise call.refuse(field, "not a size", given=str(list(given)), expected="at least 1 each")
    return tuple(given)

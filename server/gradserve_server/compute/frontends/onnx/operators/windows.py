"""Where sliding windows lie: kernel, strides, dilations and the several ways of padding."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from gradserve_server.compute.frontends.onnx.call import Call


@dataclasses.dataclass(frozen=True)
class Windows:
    """Windows over the spatial axes, one entry for each axis.

    Attributes:
        size: elements of the window.
        stride: step from one window to the next.
        dilation: distance between elements of one window.
        padding: elements before and after.
        declared: of the padding after, as much as the node asks for: rounding up the number of windows needs more.
        counts: numbers of windows.
    """

    size: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    padding: tuple[tuple[Any, Any], ...]
    declared: tuple[Any, ...]
    counts: tuple[Any, ...]

    def place(self, space: Any) -> list[tuple[Any, Any, Any]]:
        """Padding before and after each axis of `space`, and number of windows."""
        assert len(space) == len(self.counts)
        return [(low, high, count) for (low, high), count in zip(self.padding, self.counts, strict=True)]


def read_windows(call: Call, space: Sequence[Any], size: Sequence[int] | None = None) -> Windows:
    """The windows that the node's attributes place over `space`."""
    rank = len(space)
    kernel = tuple(size if size is not None else call.attribute("kernel_shape"))
    stride = tuple(call.attributes.get("strides") or (1,) * rank)
    dilation = tuple(call.attributes.get("dilations") or (1,) * rank)
    pads = tuple(call.attributes.get("pads") or (0,) * (2 * rank))
    for name, values, count in (
        ("kernel_shape", kernel, rank),
        ("strides", stride, rank),
        ("dilations", dilation, rank),
        ("pads", pads, 2 * rank),
    ):
        if len(values) != count:
            raise call.refuse(f"'{name}' should have {count} numbers", given=str(values))
        if name != "pads" and any(one < 1 for one in values):
            raise call.refuse(f"'{name}' should be positive", given=str(values))
    rounds_up = bool(call.attribute("ceil_mode", 0))
    automatic = call.attribute("auto_pad", "NOTSET")
    padding, declared, counts = [], [], []
    for axis in range(rank):
        extent = (kernel[axis] - 1) * dilation[axis] + 1
        low, high = _pads(call, automatic, space[axis], extent, stride[axis], (pads[axis], pads[rank + axis]))
        free = space[axis] + low + high - extent
        count = free // stride[axis] + 1
        declared.append(high)
        if rounds_up and automatic == "NOTSET":
            count = -(-free // stride[axis]) + 1
            if (count - 1) * stride[axis] >= space[axis] + low:
                # It would start in the padding.
                count -= 1
            high = (count - 1) * stride[axis] + extent - space[axis] - low
        elif rounds_up and automatic == "VALID":
            count = -(-(space[axis] - extent + 1) // stride[axis])
        if isinstance(count, int) and count < 1:
            raise call.refuse("the window does not fit", given=f"{tuple(space)}", expected=f"at least {extent}")
        padding.append((low, high))
        counts.append(count)
    return Windows(kernel, stride, dilation, tuple(padding), tuple(declared), tuple(counts))


def _pads(call: Call, automatic: str, size: Any, extent: int, stride: int, explicit: tuple[int, int]) -> Any:
    match automatic:
        case "NOTSET":
            return explicit
        case "VALID":
            return 0, 0
        case "SAME_UPPER" | "SAME_LOWER":
            count = -(-size // stride)
            total = (count - 1) * stride + extent - size
            total = max(total, 0)
            less = total // 2
            return (less, total - less) if automatic == "SAME_UPPER" else (total - less, less)
        case _:
            raise call.refuse("'auto_pad' is none that is known", given=automatic)

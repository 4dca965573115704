"""What moves elements and computes nothing."""

from __future__ import annotations

from collections.abc import Sequence

from gradserve.layers.base import Layer, axis_of, layer, whole
from gradserve.v1 import network_pb2


def reshape(*shape: int, name: str | None = None) -> Layer:
    """Another shape for the same elements.

    Args:
        shape: sizes of the axes, the batch's among them: 0 keeps the axis at that place, and one
            -1 takes what is left.
        name: name of the node; ``reshape_1``, ... if None.
    """
    sizes = [whole(size, "reshape.shape", least=-1) for size in shape]
    return layer("reshape", name, reshape=network_pb2.Reshape(shape=sizes))


def flatten(name: str | None = None) -> Layer:
    """[batch, ...] to [batch, features]."""
    return layer("flatten", name, reshape=network_pb2.Reshape(shape=[0, -1]))


def transpose(*axes: int, name: str | None = None) -> Layer:
    """The axes in another order.

    Args:
        axes: the axis of x at each place, the batch's among them; reversed if there are none.
        name: name of the node; ``transpose_1``, ... if None.
    """
    order = [axis_of(axis, "transpose.axes") for axis in axes]
    return layer("transpose", name, transpose=network_pb2.Transpose(axes=order))


def slice_axis(axis: int, start: int = 0, stop: int | None = None, step: int = 1, name: str | None = None) -> Layer:
    """Every `step`-th element of one axis, from `start` to before `stop`.

    Args:
        axis: negative from the end.
        start: first index, negative from the end.
        stop: index after the last, negative from the end; to the end if None.
        step: distance, at least 1.
        name: name of the node; ``slice_axis_1``, ... if None.
    """
    part = network_pb2.Slice(
        axis=axis_of(axis, "slice.axis"),
        start=axis_of(start, "slice.start"),
        stop=None if stop is None else axis_of(stop, "slice.stop"),
        step=0 if step == 1 else whole(step, "slice.step"),
    )
    return layer("slice_axis", name, slice=part)


def concatenate(axis: int = -1, name: str | None = None) -> Layer:
    """Two or more inputs side by side along an axis.

    Args:
        axis: negative from the end.
        name: name of the node; ``concatenate_1``, ... if None.
    """
    return layer("concatenate", name, concatenate=network_pb2.Concatenate(axis=axis_of(axis, "concatenate.axis")))


def rearrange(pattern: str, name: str | None = None, **sizes: int) -> Layer:
    """Axes merged, split, moved, added and dropped by name, as in einops.

    Source: Rogozhnikov, "Einops", 2022.

    Example:
        >>> gs.rearrange("b (h w) c -> b h w c", h=8)

    Args:
        pattern: axes of x, ``->``, axes of the result. One that is named on the right only is new and
            repeats x; ``1`` is an axis of size one, ``...`` stands for any axes.
        name: name of the node; ``rearrange_1``, ... if None. No axis can be called so.
        sizes: sizes that do not follow from x.
    """
    return layer(
        "rearrange",
        name,
        rearrange=network_pb2.Rearrange(
            pattern=pattern, sizes={axis: whole(size, f"rearrange.{axis}") for axis, size in sizes.items()}
        ),
    )


def pad(low: Sequence[int] = (), high: Sequence[int] = (), value: float = 0.0, name: str | None = None) -> Layer:
    """Edges filled with a number.

    Args:
        low: elements before each axis, the batch's among them; negative ones crop. None if empty.
        high: elements after each axis, likewise.
        value: what they are.
        name: name of the node; ``pad_1``, ... if None.
    """
    edges = {"low": low, "high": high}
    return layer(
        "pad",
        name,
        pad=network_pb2.Pad(
            value=value,
            **{field: [axis_of(size, f"pad.{field}") for size in sizes] for field, sizes in edges.items()},
        ),
    )

"""Pooling over the spatial axes."""

from __future__ import annotations

from gradserve.layers.base import Layer, layer
from gradserve.layers.windows import Padding, Sizes, window
from gradserve.v1 import network_pb2


def max_pooling(
    size: Sizes,
    stride: Sizes | None = None,
    dilation: Sizes | None = None,
    padding: Padding = "valid",
    name: str | None = None,
) -> Layer:
    """The largest value of each window over the spatial axes of a channels-last tensor.

    Args:
        size: extent of the window along each spatial axis; an integer means a square over two.
        stride: step along each spatial axis; the size of the window if None.
        dilation: spacing inside the window; 1 if None.
        padding: ``"same"`` or ``"valid"``.
        name: name of the node; ``max_pooling_1``, ... if None.
    """
    placed = window("pooling", size, stride, dilation, padding)
    return layer(
        "max_pooling",
        name,
        pooling=network_pb2.Pooling(function=network_pb2.Pooling.FUNCTION_MAX, window=placed),
    )


def mean_pooling(
    size: Sizes,
    stride: Sizes | None = None,
    dilation: Sizes | None = None,
    padding: Padding = "valid",
    name: str | None = None,
) -> Layer:
    """The mean of each window, over what is not padding; arguments as for `max_pooling`."""
    placed = window("pooling", size, stride, dilation, padding)
    return layer(
        "mean_pooling",
        name,
        pooling=network_pb2.Pooling(function=network_pb2.Pooling.FUNCTION_MEAN, window=placed),
    )


def global_max_pooling(name: str | None = None) -> Layer:
    """The largest value over all of space: [batch, *space, channels] to [batch, channels]."""
    return layer(
        "global_max_pooling",
        name,
        pooling=network_pb2.Pooling(function=network_pb2.Pooling.FUNCTION_MAX),
    )


def global_mean_pooling(name: str | None = None) -> Layer:
    """The mean over all of space: [batch, *space, channels] to [batch, channels]."""
    return layer(
        "global_mean_pooling",
        name,
        pooling=network_pb2.Pooling(function=network_pb2.Pooling.FUNCTION_MEAN),
    )

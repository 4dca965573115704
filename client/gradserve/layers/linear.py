"""Layers that multiply by a kernel or look a table up."""

from __future__ import annotations

from gradserve.initializers import Initializer
from gradserve.layers.base import Layer, layer, whole
from gradserve.layers.windows import Padding, Sizes, window
from gradserve.v1 import network_pb2


def dense(
    units: int,
    bias: bool = True,
    kernel_initializer: Initializer | None = None,
    name: str | None = None,
) -> Layer:
    """A fully connected layer on the last axis: ``y = x W + b``.

    Parameters of the network: ``<name>/kernel`` [in, units] and ``<name>/bias`` [units].

    Args:
        units: size of the last axis of the result.
        bias: whether to add ``b``.
        kernel_initializer: for the kernel; LeCun normal if None.
        name: name of the node; ``dense_1``, ``dense_2``, ... if None.
    """
    return layer(
        "dense",
        name,
        dense=network_pb2.Dense(
            units=whole(units, "dense.units"),
            without_bias=not bias,
            kernel_initializer=_message(kernel_initializer),
        ),
    )


def convolution(
    filters: int,
    size: Sizes,
    stride: Sizes | None = None,
    dilation: Sizes | None = None,
    padding: Padding = "same",
    groups: int = 1,
    bias: bool = True,
    transposed: bool = False,
    kernel_initializer: Initializer | None = None,
    name: str | None = None,
) -> Layer:
    """A convolution over 1, 2 or 3 spatial axes of a channels-last tensor.

    ``x`` is [batch, *space, in], the result [batch, *space, filters]. Parameters of the network:
    ``<name>/kernel`` [*size, in / groups, filters] and ``<name>/bias`` [filters].

    Args:
        filters: channels of the result.
        size: extent of the window along each spatial axis; an integer means a square over two.
        stride: step along each spatial axis; 1 if None.
        dilation: spacing inside the window; 1 if None.
        padding: ``"same"`` gives ceil(size / stride) positions, ``"valid"`` pads nothing.
        groups: feature groups that do not see each other.
        bias: whether to add one.
        transposed: the transpose of the convolution, for upsampling.
        kernel_initializer: for the kernel; He normal if None.
        name: name of the node; ``convolution_1``, ... if None.
    """
    return layer(
        "convolution",
        name,
        convolution=network_pb2.Convolution(
            filters=whole(filters, "convolution.filters"),
            window=window("convolution", size, stride, dilation, padding),
            groups=0 if groups == 1 else whole(groups, "convolution.groups"),
            transposed=transposed,
            without_bias=not bias,
            kernel_initializer=_message(kernel_initializer),
        ),
    )


def embedding(rows: int, features: int, name: str | None = None) -> Layer:
    """A table look-up: integers of any shape get a last axis of `features`.

    Parameter of the network: ``<name>/table`` [rows, features].

    Args:
        rows: number of different indices.
        features: size of the new last axis.
        name: name of the node; ``embedding_1``, ... if None.
    """
    return layer(
        "embedding",
        name,
        embedding=network_pb2.Embedding(
            rows=whole(rows, "embedding.rows"), features=whole(features, "embedding.features")
        ),
    )


def _message(initializer: Initializer | None) -> network_pb2.Initializer | None:
    return None if initializer is None else initializer.message

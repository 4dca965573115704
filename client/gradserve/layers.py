"""Layers: one operation each, as values that `sequential` and `GraphBuilder` put in place.

Arguments that are None are left to the server, whose defaults the contract states.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, final

from gradserve.errors import InvalidRequest
from gradserve.initializers import Initializer
from gradserve.tensors import message_bytes
from gradserve.v1 import network_pb2

Sizes = int | Sequence[int]
"""One size for each spatial axis; a single integer stands for two equal ones (images)."""

Padding = Literal["same", "valid"]

_PADDINGS = {
    "same": network_pb2.Window.PADDING_SAME,
    "valid": network_pb2.Window.PADDING_VALID,
}


@final
@dataclass(frozen=True, slots=True)
class Layer:
    """One operation that has not been put in place yet.

    Attributes:
        kind: what it is called where it has no name: the first dense layer is ``dense_1``.
        content: a serialized `Node` with nothing set but the operation.
        name: its name in the graph; counted by kind if None.
    """

    kind: str
    content: bytes
    name: str | None = None

    @property
    def message(self) -> network_pb2.Node:
        """The contract's node without name and inputs, a copy."""
        return network_pb2.Node.FromString(self.content)

    def __repr__(self) -> str:
        name = f", name={self.name!r}" if self.name else ""
        return f"Layer({self.kind}{name})"


def layer(kind: str, name: str | None, **operation: Any) -> Layer:
    """A layer of the one operation that is given by the name of its field in `Node`."""
    return Layer(kind, message_bytes(network_pb2.Node(**operation)), name)


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
            window=_window("convolution", size, stride, dilation, padding),
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


def layer_normalization(
    epsilon: float | None = None, scale: bool = True, bias: bool = True, name: str | None = None
) -> Layer:
    """Each position normalized over its features (the last axis).

    Source: Ba et al., "Layer normalization", 2016. Parameters of the network: ``<name>/scale`` and
    ``<name>/bias``, of the last axis's size.

    Args:
        epsilon: added to the variance; 1e-5 if None.
        scale: whether to multiply by a scale.
        bias: whether to add a bias.
        name: name of the node; ``layer_normalization_1``, ... if None.
    """
    return layer(
        "layer_normalization",
        name,
        normalization=network_pb2.Normalization(
            kind=network_pb2.Normalization.KIND_LAYER,
            epsilon=epsilon,
            without_scale=not scale,
            without_bias=not bias,
        ),
    )


def rms_normalization(epsilon: float | None = None, scale: bool = True, name: str | None = None) -> Layer:
    """Each position divided by the root mean square of its features (the last axis).

    Source: Zhang and Sennrich, "Root mean square layer normalization", 2019. Parameter of the
    network: ``<name>/scale``, of the last axis's size.

    Args:
        epsilon: added to the mean square; 1e-5 if None.
        scale: whether to multiply by a scale.
        name: name of the node; ``rms_normalization_1``, ... if None.
    """
    return layer(
        "rms_normalization",
        name,
        normalization=network_pb2.Normalization(
            kind=network_pb2.Normalization.KIND_RMS, epsilon=epsilon, without_scale=not scale
        ),
    )


def batch_normalization(
    momentum: float | None = None,
    epsilon: float | None = None,
    scale: bool = True,
    bias: bool = True,
    fixed_statistics: bool = False,
    name: str | None = None,
) -> Layer:
    """Each channel (last axis) normalized over batch and space.

    In training by the statistics of the batch, otherwise by the stored ones; calls with a network
    that holds this layer need ``mode``. Source: Ioffe and Szegedy, "Batch normalization", 2015.
    Parameters of the network: ``<name>/scale`` and ``<name>/bias``; statistics, which are weights
    without gradients and come back as ``updated_statistics``: ``<name>/mean`` and
    ``<name>/variance``. All of the last axis's size.

    Args:
        momentum: weight of the old statistics in the updated ones; 0.9 if None.
        epsilon: added to the variance; 1e-5 if None.
        scale: whether to multiply by a scale.
        bias: whether to add a bias.
        fixed_statistics: uses the stored statistics in training as well (a frozen layer).
        name: name of the node; ``batch_normalization_1``, ... if None.
    """
    return layer(
        "batch_normalization",
        name,
        normalization=network_pb2.Normalization(
            kind=network_pb2.Normalization.KIND_BATCH,
            epsilon=epsilon,
            momentum=momentum,
            without_scale=not scale,
            without_bias=not bias,
            fixed_statistics=fixed_statistics,
        ),
    )


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
    window = _window("pooling", size, stride, dilation, padding)
    return layer(
        "max_pooling",
        name,
        pooling=network_pb2.Pooling(function=network_pb2.Pooling.FUNCTION_MAX, window=window),
    )


def mean_pooling(
    size: Sizes,
    stride: Sizes | None = None,
    dilation: Sizes | None = None,
    padding: Padding = "valid",
    name: str | None = None,
) -> Layer:
    """The mean of each window, over what is not padding; arguments as for `max_pooling`."""
    window = _window("pooling", size, stride, dilation, padding)
    return layer(
        "mean_pooling",
        name,
        pooling=network_pb2.Pooling(function=network_pb2.Pooling.FUNCTION_MEAN, window=window),
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


def dropout(rate: float, name: str | None = None) -> Layer:
    """Zeroes a part in training and scales the rest by 1 / (1 - rate); otherwise the identity.

    Calls with a network that holds this layer need ``mode``; ``seed`` decides what is zeroed.
    Source: Srivastava et al., "Dropout", 2014.

    Args:
        rate: the part, in [0, 1).
        name: name of the node; ``dropout_1``, ... if None.

    Raises:
        InvalidRequest: the rate is outside [0, 1).
    """
    if not 0 <= rate < 1:
        raise InvalidRequest.because(
            "no rate of dropout", field="dropout.rate", given=rate, expected="a number in [0, 1)"
        )
    return layer("dropout", name, dropout=network_pb2.Dropout(rate=rate))


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


def whole(number: object, field: str, least: int = 1) -> int:
    """`number` as an integer.

    Raises:
        InvalidRequest: it is none, or below `least`.
    """
    try:
        if isinstance(number, bool):
            raise TypeError
        value = operator.index(number)  # type: ignore[arg-type]
    except TypeError:
        value = least - 1
    if value < least or value >= 2**63:
        raise InvalidRequest.because(
            "no valid number",
            field=field,
            given=repr(number),
            expected=f"an integer of at least {least}",
        )
    return int(value)


def _message(initializer: Initializer | None) -> network_pb2.Initializer | None:
    return None if initializer is None else initializer.message


def _window(field: str, size: Sizes, stride: Sizes | None, dilation: Sizes | None, padding: str) -> network_pb2.Window:
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

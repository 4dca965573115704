"""Normalization layers."""

from __future__ import annotations

from gradserve.layers.base import Layer, layer, whole
from gradserve.v1 import network_pb2


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


def group_normalization(
    groups: int, epsilon: float | None = None, scale: bool = True, bias: bool = True, name: str | None = None
) -> Layer:
    """Groups of channels (last axis), each normalized over space for each example.

    As many groups as channels are instance normalization. Source: Wu and He, "Group normalization",
    2018. Parameters of the network: ``<name>/scale`` and ``<name>/bias``, of the last axis's size.

    Args:
        groups: number of groups; divides the channels.
        epsilon: added to the variance; 1e-5 if None.
        scale: whether to multiply by a scale.
        bias: whether to add a bias.
        name: name of the node; ``group_normalization_1``, ... if None.
    """
    return layer(
        "group_normalization",
        name,
        normalization=network_pb2.Normalization(
            kind=network_pb2.Normalization.KIND_GROUP,
            epsilon=epsilon,
            groups=whole(groups, "normalization.groups"),
            without_scale=not scale,
            without_bias=not bias,
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

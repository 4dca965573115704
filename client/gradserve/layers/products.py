"""Sums of products over named axes."""

from __future__ import annotations

from gradserve.layers.base import Layer, layer
from gradserve.v1 import network_pb2


def einsum(equation: str, name: str | None = None) -> Layer:
    """The sum of the products of its inputs over named axes, as NumPy's einsum.

    Example:
        >>> graph.add(gs.einsum("bik,kj->bij"), x, w)

    Args:
        equation: letters for the axes of each input, ``->``, letters for those of the result; axes that
            the result does not have are summed over. ``...`` stands for any axes.
        name: name of the node; ``einsum_1``, ... if None.
    """
    return layer("einsum", name, einsum=network_pb2.Einsum(equation=equation))

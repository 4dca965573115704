"""Reductions over axes, whole and running."""

from __future__ import annotations

from collections.abc import Sequence

from gradserve.layers.base import Layer, axis_of, layer
from gradserve.v1 import network_pb2

_Reduce = network_pb2.Reduce
_Cumulative = network_pb2.Cumulative


def _reduce(
    kind: str,
    function: network_pb2.Reduce.Function,
    axes: int | Sequence[int],
    keep_axes: bool,
    name: str | None,
) -> Layer:
    chosen = axes if isinstance(axes, Sequence) else [axes]
    return layer(
        kind,
        name,
        reduce=_Reduce(
            function=function,
            axes=[axis_of(axis, f"{kind}.axes") for axis in chosen],
            keep_axes=keep_axes,
        ),
    )


def reduce_sum(axes: int | Sequence[int] = (), keep_axes: bool = False, name: str | None = None) -> Layer:
    """Sum over axes.

    Args:
        axes: which, negative ones from the end; all if empty, the batch's among them.
        keep_axes: keeps them with size 1.
        name: name of the node; ``reduce_sum_1``, ... if None.
    """
    return _reduce("reduce_sum", _Reduce.FUNCTION_SUM, axes, keep_axes, name)


def reduce_mean(axes: int | Sequence[int] = (), keep_axes: bool = False, name: str | None = None) -> Layer:
    """Mean over axes; arguments as for `reduce_sum`."""
    return _reduce("reduce_mean", _Reduce.FUNCTION_MEAN, axes, keep_axes, name)


def reduce_max(axes: int | Sequence[int] = (), keep_axes: bool = False, name: str | None = None) -> Layer:
    """The largest along axes; arguments as for `reduce_sum`."""
    return _reduce("reduce_max", _Reduce.FUNCTION_MAX, axes, keep_axes, name)


def reduce_min(axes: int | Sequence[int] = (), keep_axes: bool = False, name: str | None = None) -> Layer:
    """The smallest along axes; arguments as for `reduce_sum`."""
    return _reduce("reduce_min", _Reduce.FUNCTION_MIN, axes, keep_axes, name)


def reduce_log_sum_exp(axes: int | Sequence[int] = (), keep_axes: bool = False, name: str | None = None) -> Layer:
    """log(sum(exp(x))) over axes, without overflow; arguments as for `reduce_sum`."""
    return _reduce("reduce_log_sum_exp", _Reduce.FUNCTION_LOG_SUM_EXP, axes, keep_axes, name)


def cumulative_sum(axis: int, reverse: bool = False, name: str | None = None) -> Layer:
    """The running sum along an axis, the element itself included.

    Args:
        axis: negative from the end.
        reverse: from the end to the start.
        name: name of the node; ``cumulative_sum_1``, ... if None.
    """
    return _cumulative("cumulative_sum", _Cumulative.FUNCTION_SUM, axis, reverse, name)


def cumulative_product(axis: int, reverse: bool = False, name: str | None = None) -> Layer:
    """The running product along an axis; arguments as for `cumulative_sum`."""
    return _cumulative("cumulative_product", _Cumulative.FUNCTION_PRODUCT, axis, reverse, name)


def cumulative_max(axis: int, reverse: bool = False, name: str | None = None) -> Layer:
    """The largest so far along an axis; arguments as for `cumulative_sum`."""
    return _cumulative("cumulative_max", _Cumulative.FUNCTION_MAX, axis, reverse, name)


def _cumulative(
    kind: str, function: network_pb2.Cumulative.Function, axis: int, reverse: bool, name: str | None
) -> Layer:
    message = _Cumulative(function=function, axis=axis_of(axis, f"{kind}.axis"), reverse=reverse)
    return layer(kind, name, cumulative=message)

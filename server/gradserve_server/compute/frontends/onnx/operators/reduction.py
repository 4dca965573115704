"""Reductions over axes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradserve_server.compute.frontends.onnx.call import Call
from gradserve_server.compute.frontends.onnx.table import Value, operator


def _axes(call: Call, x: Any) -> tuple[int, ...]:
    """Axes to reduce: an attribute in older versions; if empty, all of them or none."""
    axes = call.sizes_or(1, "axes")
    if axes:
        return call.axes(axes, x.ndim)
    return () if call.attribute("noop_with_empty_axes", 0) else tuple(range(x.ndim))


def _reduce(call: Call, function: Callable[[Any, tuple[int, ...], bool], Any]) -> Value:
    x = call.input(0)
    y = function(x, _axes(call, x), bool(call.attribute("keepdims", 1)))
    return y if y.dtype in (x.dtype, object) else y.astype(x.dtype)


@operator("ReduceSum", 1, 11, 13, static=(1,), folds=True)
def reduce_sum(call: Call) -> Value:
    return _reduce(call, lambda x, axes, keep: call.xp.sum(x, axes, keepdims=keep))


@operator("ReduceProd", 1, 11, 13, 18, static=(1,), folds=True)
def reduce_product(call: Call) -> Value:
    return _reduce(call, lambda x, axes, keep: call.xp.prod(x, axes, keepdims=keep))


@operator("ReduceMean", 1, 11, 13, 18, static=(1,))
def reduce_mean(call: Call) -> Value:
    def mean(x: Any, axes: tuple[int, ...], keep: bool) -> Any:
        if jnp.issubdtype(x.dtype, jnp.floating):
            return jnp.mean(x, axes, keepdims=keep)
        total = jnp.sum(x, axes, keepdims=keep)
        count = math.prod(x.shape[axis] for axis in axes)
        return jax.lax.div(total, jnp.full_like(total, count))

    return _reduce(call, mean)


def _extreme(call: Call, *, largest: bool) -> Value:
    def function(x: Any, axes: tuple[int, ...], keep: bool) -> Any:
        name = "max" if largest else "min"
        if x.dtype == np.bool_:
            return (call.xp.any if largest else call.xp.all)(x, axes, keepdims=keep)
        empty = any(isinstance(x.shape[axis], int) and x.shape[axis] == 0 for axis in axes)
        if not empty:
            return getattr(call.xp, name)(x, axes, keepdims=keep)
        if jnp.issubdtype(x.dtype, jnp.floating):
            initial = -np.inf if largest else np.inf
        else:
            bounds = np.iinfo(x.dtype)
            initial = bounds.min if largest else bounds.max
        return getattr(call.xp, name)(x, axes, keepdims=keep, initial=x.dtype.type(initial))

    return _reduce(call, function)


@operator("ReduceMax", 1, 11, 12, 13, 18, 20, static=(1,), folds=True)
def reduce_max(call: Call) -> Value:
    return _extreme(call, largest=True)


@operator("ReduceMin", 1, 11, 12, 13, 18, 20, static=(1,), folds=True)
def reduce_min(call: Call) -> Value:
    return _extreme(call, largest=False)


@operator("ReduceL1", 1, 11, 13, 18, static=(1,))
def reduce_l1(call: Call) -> Value:
    return _reduce(call, lambda x, axes, keep: jnp.sum(jnp.abs(x), axes, keepdims=keep))


@operator("ReduceSumSquare", 1, 11, 13, 18, static=(1,))
def reduce_sum_of_squares(call: Call) -> Value:
    return _reduce(call, lambda x, axes, keep: jnp.sum(jnp.square(x), axes, keepdims=keep))


@operator("ReduceL2", 1, 11, 13, 18, static=(1,))
def reduce_l2(call: Call) -> Value:
    def norm(x: Any, axes: tuple[int, ...], keep: bool) -> Any:
        real = x if jnp.issubdtype(x.dtype, jnp.floating) else x.astype(jnp.float64)
        return safe_sqrt(jnp.sum(jnp.square(real), axes, keepdims=keep))

    return _reduce(call, norm)


def safe_sqrt(x: jax.Array) -> jax.Array:
    """The square root of what is not negative, with a gradient of zero at zero in place of infinity times zero."""
    positive = x > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, x, 1)), jax.lax.stop_gradient(x))


@operator("ReduceLogSum", 1, 11, 13, 18, 28, static=(1,))
def reduce_log_sum(call: Call) -> Value:
    return _reduce(call, lambda x, axes, keep: jnp.log(jnp.sum(_real(x), axes, keepdims=keep)))


@operator("ReduceLogSumExp", 1, 11, 13, 18, 28, static=(1,))
def reduce_log_sum_exp(call: Call) -> Value:
    return _reduce(call, lambda x, axes, keep: jax.nn.logsumexp(_real(x), axes, keepdims=keep))


def _real(x: Any) -> Any:
    return x if jnp.issubdtype(x.dtype, jnp.floating) else x.astype(jnp.float64)


@operator("ArgMax", 1, 11, 12, 13)
def arg_max(call: Call) -> Value:
    return _arg(call, jnp.argmax)


@operator("ArgMin", 1, 11, 12, 13)
def arg_min(call: Call) -> Value:
    return _arg(call, jnp.argmin)


def _arg(call: Call, function: Callable[..., jax.Array]) -> Value:
    x = call.input(0)
    axis = call.axis(call.attribute("axis", 0), x.ndim)
    keep = bool(call.attribute("keepdims", 1))
    if not call.attribute("select_last_index", 0):
        return function(x, axis, keepdims=keep).astype(jnp.int64)
    last = function(jnp.flip(x, axis), axis, keepdims=keep).astype(jnp.int64)
    return x.shape[axis] - 1 - last


def _running(call: Call, function: Callable[..., Any], neutral: int) -> Value:
    x = call.input(0)
    axis = call.axis(call.number(1, None), x.ndim)
    if call.attribute("reverse", 0):
        x = jnp.flip(x, axis)
    y = function(x, axis=axis, dtype=x.dtype)
    if call.attribute("exclusive", 0):
        first = jnp.full((*x.shape[:axis], 1, *x.shape[axis + 1 :]), neutral, x.dtype)
        y = jnp.concatenate([first, jax.lax.slice_in_dim(y, 0, x.shape[axis] - 1, axis=axis)], axis)
    return jnp.flip(y, axis) if call.attribute("reverse", 0) else y


@operator("CumSum", 11, 14, static=(1,))
def running_sum(call: Call) -> Value:
    return _running(call, jnp.cumsum, 0)


@operator("CumProd", 26, static=(1,))
def running_product(call: Call) -> Value:
    return _running(call, jnp.cumprod, 1)

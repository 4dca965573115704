"""Largest and mean of sliding windows, channels last."""

from __future__ import annotations

from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np


class Placement(Protocol):
    """Windows over the spatial axes, one entry for each."""

    @property
    def size(self) -> tuple[int, ...]:
        """Elements of the window."""

    @property
    def stride(self) -> tuple[int, ...]:
        """Step from one window to the next."""

    @property
    def dilation(self) -> tuple[int, ...]:
        """Distance between elements of one window."""

    def place(self, space: Any) -> list[tuple[Any, Any, Any]]:
        """Padding before and after each axis, and number of window."""


def window_max(x: jax.Array, window: Placement) -> jax.Array:
    """Largest element of each window of x [batch, *space, channels], padding left out.

    The gradient goes to the first of equal elements.
    """
    lowest = _lowest(x.dtype)
    places = window.place(x.shape[1:-1])
    padding = [(0, 0), *((low, high) for low, high, _ in places), (0, 0)]
    if any(step != 1 for step in window.dilation):
        # JAX has no derivative of a dilated reduce_window. A maximum separates into its axes.
        padded = jnp.pad(x, padding, constant_values=lowest)
        for index, (_, _, count) in enumerate(places):
            padded = _axis_max(padded, index + 1, count, window, index)
        return padded
    y: jax.Array = jax.lax.reduce_window(x, lowest, jax.lax.max, (1, *window.size, 1), (1, *window.stride, 1), padding)
    return y


def window_mean(x: jax.Array, window: Placement) -> jax.Array:
    """Mean of each window of x [batch, *space, channels], padding left out of the sum and of the count."""
    places = window.place(x.shape[1:-1])
    y: jax.Array = jax.lax.reduce_window(
        x,
        np.zeros((), x.dtype),
        jax.lax.add,
        (1, *window.size, 1),
        (1, *window.stride, 1),
        [(0, 0), *((low, high) for low, high, _ in places), (0, 0)],
        window_dilation=(1, *window.dilation, 1),
    )
    for index, (low, _, count) in enumerate(places):
        seen = _seen(x.shape[index + 1], low, count, window, index).astype(x.dtype)
        seen = jnp.expand_dims(seen, tuple(axis for axis in range(y.ndim) if axis != index + 1))
        y = y / jnp.broadcast_to(seen, y.shape)
    return y


def _axis_max(x: jax.Array, axis: int, count: Any, window: Placement, index: int) -> jax.Array:
    starts = jnp.arange(count, dtype=jnp.int32) * window.stride[index]
    offsets = jnp.arange(window.size[index], dtype=jnp.int32) * window.dilation[index]
    elements = jnp.take(x, jnp.expand_dims(starts, 1) + jnp.expand_dims(offsets, 0), axis=axis, mode="clip")
    best = jnp.expand_dims(jnp.argmax(elements, axis + 1), axis + 1)
    return jnp.squeeze(jnp.take_along_axis(elements, best, axis + 1), axis + 1)


def _seen(size: Any, low: Any, count: Any, window: Placement, index: int) -> jax.Array:
    """For each window [count], how many of its elements are on the axis and not on its padding."""
    step = window.dilation[index]
    starts = jnp.arange(count, dtype=jnp.int64) * window.stride[index] - low
    first = (jnp.maximum(-starts, 0) + step - 1) // step
    last = jnp.minimum((size - 1 - starts) // step, window.size[index] - 1)
    return last - first + 1


def _lowest(dtype: Any) -> np.ndarray[Any, Any]:
    number = -np.inf if jnp.issubdtype(dtype, jnp.floating) else np.iinfo(dtype).min
    return np.asarray(number, dtype)

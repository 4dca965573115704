"""What the operations compute, written down once more in NumPy from their definitions, without JAX."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Weights = Mapping[str, Array]

_lgamma = np.vectorize(math.lgamma, otypes=[float])
_erf = np.vectorize(math.erf, otypes=[float])


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def softmax(x: Array, axis: int = -1) -> Array:
    exponentials = np.exp(x - x.max(axis, keepdims=True))
    return exponentials / exponentials.sum(axis, keepdims=True)


ELEMENTWISE: dict[str, Callable[[Array], Array]] = {
    "RELU": lambda x: np.where(x > 0, x, 0 * x),
    "GELU_TANH": lambda x: x / 2 * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    "GELU_EXACT": lambda x: x / 2 * (1 + _erf(x / math.sqrt(2))),
    "SILU": lambda x: x * sigmoid(x),
    "SIGMOID": sigmoid,
    "TANH": np.tanh,
    "SOFTPLUS": lambda x: np.log(1 + np.exp(x)),
    "SOFTMAX": softmax,
    "LOG_SOFTMAX": lambda x: np.log(softmax(x)),
    "EXP": np.exp,
    "LOG": np.log,
    "SQRT": np.sqrt,
    "SQUARE": lambda x: x * x,
    "ABS": np.abs,
    "NEGATE": lambda x: -x,
    "SIN": np.sin,
    "COS": np.cos,
    "ERF": _erf,
    "STOP_GRADIENT": lambda x: x,
    "LOG_SIGMOID": lambda x: np.log(sigmoid(x)),
    "LOG1P": lambda x: np.log(1 + x),
    "EXPM1": lambda x: np.exp(x) - 1,
    "LOG_GAMMA": _lgamma,
    "RSQRT": lambda x: 1 / np.sqrt(x),
    "SIGN": np.sign,
    "NOT": lambda x: ~x,
}


def dense(w: Weights, x: Array) -> Array:
    y = np.einsum("...i,io->...o", x, w["kernel"])
    return y + w["bias"] if "bias" in w else y


def embedding(w: Weights, x: Array) -> Array:
    return w["table"][x]


class Geometry:
    """Windows over the spatial axes of x, whose axes are batch, space, channels."""

    def __init__(
        self,
        size: Sequence[int],
        stride: Sequence[int] | None = None,
        dilation: Sequence[int] | None = None,
        same: bool = False,
    ) -> None:
        self.size = size
        self.stride = stride or [1] * len(size)
        self.dilation = dilation or [1] * len(size)
        self.extent = [(k - 1) * d + 1 for k, d in zip(size, self.dilation, strict=True)]
        self.same = same

    def windows(self, x: Array, fill: float) -> Array:
        """[batch, *windows, *size, channels], with `fill` where a window reaches over the edge."""
        widths, counts = [(0, 0)], []
        for n, s, e in zip(x.shape[1:-1], self.stride, self.extent, strict=True):
            counts.append(-(-n // s) if self.same else (n - e) // s + 1)
            total = max((counts[-1] - 1) * s + e - n, 0) if self.same else 0
            widths.append((total // 2, total - total // 2))
        padded = np.pad(x, [*widths, (0, 0)], constant_values=fill)
        found = np.empty((x.shape[0], *counts, *self.size, x.shape[-1]))
        for window in np.ndindex(*counts):
            for offset in np.ndindex(*self.size):
                place = tuple(
                    w * s + o * d for w, s, o, d in zip(window, self.stride, offset, self.dilation, strict=True)
                )
                found[(slice(None), *window, *offset)] = padded[(slice(None), *place)]
        return found


def convolution(geometry: Geometry, groups: int = 1) -> Callable[[Weights, Array], Array]:
    def compute(w: Weights, x: Array) -> Array:
        windows, kernel = geometry.windows(x, 0.0), w["kernel"]
        rank = len(geometry.size)
        inside, outside = x.shape[-1] // groups, kernel.shape[-1] // groups
        parts = [
            np.tensordot(
                windows[..., group * inside : (group + 1) * inside],
                kernel[..., group * outside : (group + 1) * outside],
                rank + 1,
            )
            for group in range(groups)
        ]
        y = np.concatenate(parts, -1)
        return y + w["bias"] if "bias" in w else y

    return compute


def transposed(geometry: Geometry) -> Callable[[Weights, Array], Array]:
    """Each element of x adds the kernel, turned around, to where it lands in the result."""

    def compute(w: Weights, x: Array) -> Array:
        kernel = w["kernel"]
        stride, extent = geometry.stride, geometry.extent
        whole = [(n - 1) * s + e for n, s, e in zip(x.shape[1:-1], stride, extent, strict=True)]
        y = np.zeros((x.shape[0], *whole, kernel.shape[-1]))
        for place in np.ndindex(*x.shape[1:-1]):
            for offset in np.ndindex(*geometry.size):
                target = tuple(
                    p * s + e - 1 - o * d
                    for p, s, e, o, d in zip(place, stride, extent, offset, geometry.dilation, strict=True)
                )
                y[(slice(None), *target)] += x[(slice(None), *place)] @ kernel[offset]
        for axis, (n, s, e) in enumerate(zip(x.shape[1:-1], stride, extent, strict=True), 1):
            length = n * s if geometry.same else n * s + max(e - s, 0)
            before = e - 1 if s > e - 1 or not geometry.same else math.ceil((e + s - 2) / 2)
            after = [(0, 0)] * y.ndim
            after[axis] = (0, length)
            y = np.take(np.pad(y, after), np.arange(length) + e - 1 - before, axis)
        return y + w["bias"] if "bias" in w else y

    return compute


def pooling(geometry: Geometry, largest: bool) -> Callable[[Weights, Array], Array]:
    def compute(w: Weights, x: Array) -> Array:
        rank = len(geometry.size)
        windows = geometry.windows(x, math.nan)
        axes = tuple(range(1 + rank, 1 + 2 * rank))
        return np.nanmax(windows, axes) if largest else np.nanmean(windows, axes)

    return compute


def _affine(w: Weights, y: Array) -> Array:
    return y * w.get("scale", 1.0) + w.get("bias", 0.0)


def layer_normalization(w: Weights, x: Array) -> Array:
    return _affine(w, (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5))


def rms_normalization(w: Weights, x: Array) -> Array:
    return _affine(w, x / np.sqrt((x * x).mean(-1, keepdims=True) + 1e-5))


def group_normalization(groups: int) -> Callable[[Weights, Array], Array]:
    def compute(w: Weights, x: Array) -> Array:
        y = np.empty_like(x)
        width = x.shape[-1] // groups
        for example, group in itertools.product(range(x.shape[0]), range(groups)):
            part = (example, ..., slice(group * width, (group + 1) * width))
            y[part] = (x[part] - x[part].mean()) / np.sqrt(x[part].var() + 1e-5)
        return _affine(w, y)

    return compute


def batch_normalization(w: Weights, x: Array) -> Array:
    """In training."""
    axes = tuple(range(x.ndim - 1))
    return _affine(w, (x - x.mean(axes)) / np.sqrt(x.var(axes) + 0.01))


def stored_normalization(w: Weights, x: Array) -> Array:
    """By the stored statistics."""
    return _affine(w, (x - w["mean"]) / np.sqrt(w["variance"] + 1e-5))


def log_sum_exp(x: Array, axes: tuple[int, ...] | None, keepdims: bool) -> Array:
    return np.log(np.sum(np.exp(x), axis=axes, keepdims=keepdims))

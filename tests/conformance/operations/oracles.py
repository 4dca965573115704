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


def transposed(geometry: Geometry, groups: int = 1) -> Callable[[Weights, Array], Array]:
    """Each element of x adds the kernel, turned around, to where it lands in the result."""

    def compute(w: Weights, x: Array) -> Array:
        if groups > 1:
            kernels, parts = np.split(w["kernel"], groups, -1), np.split(x, groups, -1)
            ungrouped = transposed(geometry)
            y = np.concatenate([ungrouped({"kernel": k}, part) for k, part in zip(kernels, parts, strict=True)], -1)
            return y + w["bias"] if "bias" in w else y
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


def layer_normalization(w: Weights, x: Array, epsilon: float = 1e-5) -> Array:
    return _affine(w, (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + epsilon))


def rms_normalization(w: Weights, x: Array, epsilon: float = 1e-5) -> Array:
    return _affine(w, x / np.sqrt((x * x).mean(-1, keepdims=True) + epsilon))


def group_normalization(groups: int, epsilon: float = 1e-5) -> Callable[[Weights, Array], Array]:
    def compute(w: Weights, x: Array) -> Array:
        y = np.empty_like(x)
        width = x.shape[-1] // groups
        for example, group in itertools.product(range(x.shape[0]), range(groups)):
            part = (example, ..., slice(group * width, (group + 1) * width))
            y[part] = (x[part] - x[part].mean()) / np.sqrt(x[part].var() + epsilon)
        return _affine(w, y)

    return compute


def batch_normalization(w: Weights, x: Array) -> Array:
    """In training."""
    axes = tuple(range(x.ndim - 1))
    return _affine(w, (x - x.mean(axes)) / np.sqrt(x.var(axes) + 0.01))


def stored_normalization(w: Weights, x: Array, epsilon: float = 1e-5) -> Array:
    """By the stored statistics."""
    return _affine(w, (x - w["mean"]) / np.sqrt(w["variance"] + epsilon))


def moved_statistics(momentum: float) -> Callable[[Weights, Array], Weights]:
    """What training makes of the stored statistics."""

    def compute(w: Weights, x: Array) -> Weights:
        axes = tuple(range(x.ndim - 1))
        batch = {"mean": x.mean(axes), "variance": x.var(axes)}
        return {name: momentum * w[name] + (1 - momentum) * value for name, value in batch.items()}

    return compute


def log_sum_exp(x: Array, axes: tuple[int, ...] | None, keepdims: bool) -> Array:
    return np.log(np.sum(np.exp(x), axis=axes, keepdims=keepdims))


def _turned(x: Array, base: float) -> Array:
    """Pairs of features [batch, length, heads, size] as complex numbers, turned by their positions."""
    half = x.shape[-1] // 2
    pairs = x[..., :half] + 1j * x[..., half:]
    for position, feature in np.ndindex(x.shape[1], half):
        pairs[:, position, :, feature] *= np.exp(1j * position * base ** (-2 * feature / x.shape[-1]))
    return np.concatenate([pairs.real, pairs.imag], -1)


def attention(causal: bool, base: float, cross: bool) -> Callable[..., Array]:
    """By exponentials of the scores, counted where a key is seen."""

    def compute(w: Weights, x: Array, *others: Array) -> Array:
        context = others[0] if cross else x

        def project(name: str, y: Array) -> Array:
            z = np.einsum("blf,fhd->blhd", y, w[f"{name}/kernel"]) + w.get(f"{name}/bias", 0.0)
            return _turned(z, base) if base and name != "value" else z

        query, key, value = project("query", x), project("key", context), project("value", context)
        heads, size = query.shape[2:]
        key, value = (np.repeat(one, heads // key.shape[2], 2) for one in (key, value))
        weights = np.exp(np.einsum("bqhd,bkhd->bhqk", query, key) / size**0.5)
        if causal:
            weights *= np.tri(*weights.shape[2:])
        if len(others) > cross:
            mask = others[cross] != 0
            weights *= mask if mask.ndim == 4 else mask[:, None] if mask.ndim == 3 else mask[:, None, None]
        total = weights.sum(-1, keepdims=True)
        shares = weights / np.where(total == 0, 1, total)
        return np.einsum("bhqk,bkhd,hdf->bqf", shares, value, w["output/kernel"]) + w.get("output/bias", 0.0)

    return compute


def _step(cell: str, w: Weights, x: Array, h: Array, c: Array) -> tuple[Array, Array]:
    """Result and memory after one time."""
    gates, own = x @ w["kernel"] + w["bias"], h @ w["recurrent_kernel"]
    if cell == "SIMPLE":
        return np.tanh(gates + own), c
    if cell == "LSTM":
        i, f, g, o = np.split(gates + own, 4, -1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        return sigmoid(o) * np.tanh(c), c
    (r, z, n), (hr, hz, hn) = np.split(gates, 3, -1), np.split(own + w["recurrent_bias"], 3, -1)
    n = np.tanh(n + sigmoid(r + hr) * hn)
    return (1 - sigmoid(z + hz)) * n + sigmoid(z + hz) * h, c


def recurrent(cell: str, bidirectional: bool, last_only: bool) -> Callable[..., Array]:
    """Step by step."""

    def one_way(w: Weights, x: Array, mask: Array | None, backward: bool) -> Array:
        h = c = np.zeros((x.shape[0], w["recurrent_kernel"].shape[0]))
        states = np.zeros((*x.shape[:2], h.shape[1]))
        times = range(x.shape[1])
        for time in reversed(times) if backward else times:
            after = _step(cell, w, x[:, time], h, c)
            kept = np.zeros((len(x), 1), bool) if mask is None else mask[:, time, None] == 0
            h, c = (np.where(kept, old, new) for old, new in zip((h, c), after, strict=True))
            states[:, time] = h
        return h if last_only else states

    def compute(w: Weights, x: Array, mask: Array | None = None) -> Array:
        if not bidirectional:
            return one_way(w, x, mask, False)
        parts = []
        for prefix in ("forward/", "backward/"):
            own = {name.removeprefix(prefix): value for name, value in w.items() if name.startswith(prefix)}
            parts.append(one_way(own, x, mask, prefix == "backward/"))
        return np.concatenate(parts, -1)

    return compute

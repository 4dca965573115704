"""Fourier transforms, windows and mel filters."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from onnx import TensorProto

from gradserve_server.compute.frontends.onnx.call import Call
from gradserve_server.compute.frontends.onnx.table import Value, operator


@operator("DFT", 17, static=(1,))
def fourier_transform_by_attribute(call: Call) -> Value:
    return _transform(call, call.input(0), call.attribute("axis", 1))


@operator("DFT", 20, static=(1, 2))
def fourier_transform(call: Call) -> Value:
    return _transform(call, call.input(0), call.number(2, -2))


def _complex(x: jax.Array) -> jax.Array:
    """X [..., 1 or 2] as complex numbers, in double: transforms of singles differ in what should be zero."""
    wide = x.astype(jnp.float64)
    return jax.lax.complex(wide[..., 0], wide[..., 1] if x.shape[-1] == 2 else jnp.zeros_like(wide[..., 0]))


def _pairs(x: jax.Array, dtype: Any) -> jax.Array:
    """Complex numbers as [..., 2]."""
    return jnp.stack([jnp.real(x), jnp.imag(x)], -1).astype(dtype)


def _transform(call: Call, x: jax.Array, axis: Any) -> Value:
    axis = call.axis(axis, x.ndim)
    if axis == x.ndim - 1 or x.shape[-1] not in (1, 2):
        raise call.refuse("the last axis holds real and imaginary parts")
    inverse, onesided = bool(call.attribute("inverse", 0)), bool(call.attribute("onesided", 0))
    default = 2 * (x.shape[axis] - 1) if inverse and onesided else x.shape[axis]
    length = call.number(1, default)
    call.check_sizes((*x.shape[:axis], length, *x.shape[axis + 1 :]))
    signal = _complex(x)
    if inverse and onesided:
        return jnp.fft.irfft(signal, length, axis)[..., None].astype(x.dtype)
    if inverse:
        return _pairs(jnp.fft.ifft(signal, length, axis), x.dtype)
    if onesided:
        return _pairs(jnp.fft.rfft(jnp.real(signal), length, axis), x.dtype)
    return _pairs(jnp.fft.fft(signal, length, axis), x.dtype)


@operator("STFT", 17, static=(1, 3))
def short_time_fourier_transform(call: Call) -> Value:
    x = call.input(0)
    step = int(call.number(1, None))
    window = call.optional(2)
    length = call.number(3, x.shape[1] if window is None else window.shape[0])
    if step < 1 or length < 1 or length > x.shape[1]:
        raise call.refuse("step or frame do not fit the signal", given=f"step {step}, frame {length}")
    count = (x.shape[1] - length) // step + 1
    places = step * jnp.arange(count)[:, None] + jnp.arange(length)
    call.check_sizes((x.shape[0], count, length, 2))
    frames = _complex(x)[:, places]
    if window is not None:
        frames = frames * window.astype(frames.dtype)
    if call.attribute("onesided", 1) and x.shape[-1] == 1:
        return _pairs(jnp.fft.rfft(jnp.real(frames), axis=-1), x.dtype)
    return _pairs(jnp.fft.fft(frames, axis=-1), x.dtype)


def _window(coefficients: tuple[float, ...]) -> Callable[[Call], Value]:
    """A sum of cosines, with alternating signs."""

    def window(call: Call) -> Value:
        size = int(call.number(0, None))
        call.check_sizes((size,))
        dtype = call.dtype(call.attribute("output_datatype", TensorProto.FLOAT))
        span = size if call.attribute("periodic", 1) else size - 1
        angle = 2 * math.pi * np.arange(size) / max(span, 1)
        terms = ((-1) ** order * weight * np.cos(order * angle) for order, weight in enumerate(coefficients))
        return np.asarray(sum(terms)).astype(dtype)

    return window


for _name, _coefficients in {
    "HannWindow": (0.5, 0.5),
    "HammingWindow": (25 / 46, 21 / 46),
    "BlackmanWindow": (0.42, 0.5, 0.08),
}.items():
    operator(_name, 17, static=(0,), folds=True)(_window(_coefficients))


@operator("MelWeightMatrix", 17, static=(0, 1, 2, 3, 4), folds=True)
def mel_weights(call: Call) -> Value:
    bands, length, rate = (int(call.number(index, None)) for index in range(3))
    low, high = (float(call.number(index, None)) for index in (3, 4))
    rows = length // 2 + 1
    if bands < 1 or rate < 1 or length < 1:
        raise call.refuse("a number is not positive", given=f"{bands}, {length}, {rate}")
    call.check_sizes((rows, bands + 2))
    mel = 2595 * np.log10(1 + np.array([low, high]) / 700)
    edges = mel[0] + np.arange(bands + 2) * ((mel[1] - mel[0]) / (bands + 2))
    hertz = 700 * (10 ** (edges / 2595) - 1)
    bins = ((length + 1) * hertz // rate).astype(np.int64)
    found = np.zeros((rows, bands))
    for band in range(bands):
        first, centre, last = bins[band : band + 3]
        if first == centre:
            found[np.clip(centre, 0, rows - 1), band] = 1
        else:
            for place in range(max(first, 0), min(centre + 1, rows)):
                found[place, band] = (place - first) / (centre - first)
        if last > centre:
            for place in range(max(centre, 0), min(last, rows)):
                found[place, band] = (last - place) / (last - centre)
    return found.astype(call.dtype(call.attribute("output_datatype", TensorProto.FLOAT)))

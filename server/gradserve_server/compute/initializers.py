"""How parameters start: drawn from a seed and the parameter's name, so that order and neighbours do not matter."""

from __future__ import annotations

import dataclasses
import functools
import math
import zlib
from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

Array: TypeAlias = np.ndarray[Any, Any]
Distribution: TypeAlias = Literal["normal", "uniform", "truncated_normal"]

# To compile a draw takes much longer than to draw: pieces of two sizes are, whatever shapes there are.
_SMALL, _LARGE = 1 << 12, 1 << 18
# Standard deviation of a normal distribution cut off at plus and minus 2.
_TRUNCATED_DEVIATION = 0.87962566103423978


@dataclasses.dataclass(frozen=True)
class Initializer:
    """A distribution.

    Attributes:
        kind: ``constant``, ``normal``, ``uniform`` (on plus and minus `value`) or ``variance_scaling``.
        value: the constant, the standard deviation, the bound, or the scale.
        fan: for variance scaling, which fan divides the scale.
        flat: for variance scaling, uniform rather than truncated normal.
        input_axis: for variance scaling, the axis of the inputs of one unit, counted from the last.
        output_axis: for variance scaling, the axis of its outputs, counted from the last.
    """

    kind: Literal["constant", "normal", "uniform", "variance_scaling"]
    value: float
    fan: Literal["fan_in", "fan_out", "fan_avg"] = "fan_in"
    flat: bool = False
    input_axis: int | tuple[int, ...] = -2
    output_axis: int | tuple[int, ...] = -1

    def draw(self, seed: int, name: str, shape: tuple[int, ...], stacked: int, dtype: Any) -> jax.Array:
        """A fresh parameter of this name and shape; its first `stacked` axes count independent layers."""
        match self.kind:
            case "constant":
                return jnp.asarray(np.full(shape, self.value, dtype))
            case "normal" | "uniform":
                distribution: Distribution = self.kind
                scale = self.value
            case "variance_scaling":
                deviation = math.sqrt(self.value / self._fan(shape[stacked:]))
                distribution = "uniform" if self.flat else "truncated_normal"
                scale = deviation * (math.sqrt(3) if self.flat else 1 / _TRUNCATED_DEVIATION)
        return jnp.asarray(_standard(distribution, seed, name, shape, dtype) * np.asarray(scale, dtype))

    def _fan(self, shape: tuple[int, ...]) -> float:
        """Numbers that a unit takes or that take it, those under a window included; of a vector, its size."""
        if len(shape) < 2:
            return math.prod(shape)
        inputs, outputs = _size(shape, self.input_axis), _size(shape, self.output_axis)
        fan_in, fan_out = math.prod(shape) / outputs, math.prod(shape) / inputs
        return {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}[self.fan]


def _size(shape: Sequence[int], axes: int | tuple[int, ...]) -> int:
    return math.prod(shape[axis] for axis in ((axes,) if isinstance(axes, int) else axes))


def _standard(distribution: Distribution, seed: int, name: str, shape: tuple[int, ...], dtype: Any) -> Array:
    """Numbers of the distribution as `_piece` has it."""
    elements = math.prod(shape)
    size = _SMALL if elements <= _SMALL else _LARGE
    stream = np.uint32(zlib.crc32(name.encode()))
    pieces = [
        np.asarray(_piece(np.int64(seed), stream, np.uint32(index), distribution, size, np.dtype(dtype)))
        for index in range(max(1, -(-elements // size)))
    ]
    return (np.concatenate(pieces) if len(pieces) > 1 else pieces[0])[:elements].reshape(shape)


@functools.partial(jax.jit, static_argnums=(3, 4, 5))
def _piece(
    seed: jax.Array, stream: jax.Array, index: jax.Array, distribution: Distribution, size: int, dtype: Any
) -> jax.Array:
    """Independent numbers: standard normal, the same cut off at plus and minus 2, or uniform on plus and minus 1."""
    key = jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), stream), index)
    match distribution:
        case "normal":
            return jax.random.normal(key, (size,), dtype)
        case "uniform":
            return jax.random.uniform(key, (size,), dtype, -1, 1)
        case "truncated_normal":
            return jax.random.truncated_normal(key, jnp.asarray(-2, dtype), jnp.asarray(2, dtype), (size,), dtype)


ZEROS = Initializer("constant", 0.0)
ONES = Initializer("constant", 1.0)
LECUN_NORMAL = Initializer("variance_scaling", 1.0)
HE_NORMAL = Initializer("variance_scaling", 2.0)

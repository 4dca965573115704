"""How parameters start: drawn from a seed and the parameter's name, so that order and neighbours do not matter."""

from __future__ import annotations

import dataclasses
import zlib
from typing import Any, Literal

import jax
import jax.numpy as jnp


@dataclasses.dataclass(frozen=True)
class Initializer:
    """A distribution.

    Attributes:
        kind: ``constant``, ``normal``, ``uniform`` (on plus and minus `value`) or ``variance_scaling``.
        value: the constant, the standard deviation, the bound, or the scale.
        fan: for variance scaling, which fan divides the scale.
        flat: for variance scaling, uniform rather than truncated normal.
        input_axis: for variance scaling, the axis of the inputs of one unit.
        output_axis: for variance scaling, the axis of its outputs.
    """

    kind: Literal["constant", "normal", "uniform", "variance_scaling"]
    value: float
    fan: Literal["fan_in", "fan_out", "fan_avg"] = "fan_in"
    flat: bool = False
    input_axis: int | tuple[int, ...] = -2
    output_axis: int | tuple[int, ...] = -1

    def draw(self, seed: int, name: str, shape: tuple[int, ...], stacked: int, dtype: Any) -> jax.Array:
        """A fresh parameter of this name and shape; its first `stacked` axes count independent layers."""
        key = jax.random.fold_in(jax.random.key(seed), zlib.crc32(name.encode()))
        match self.kind:
            case "constant":
                return jnp.full(shape, self.value, dtype)
            case "normal":
                return jnp.asarray(self.value, dtype) * jax.random.normal(key, shape, dtype)
            case "uniform":
                return jax.random.uniform(key, shape, dtype, -self.value, self.value)
            case "variance_scaling":
                draw = jax.nn.initializers.variance_scaling(
                    self.value,
                    self.fan,
                    "uniform" if self.flat else "truncated_normal",
                    in_axis=self.input_axis,
                    out_axis=self.output_axis,
                    batch_axis=tuple(range(stacked)),
                )
                return draw(key, shape, dtype)


ZEROS = Initializer("constant", 0.0)
ONES = Initializer("constant", 1.0)
LECUN_NORMAL = Initializer("variance_scaling", 1.0)
HE_NORMAL = Initializer("variance_scaling", 2.0)

"""The loss multiplied on its way back, so that small gradients do not vanish in 16 bits.

Source: Micikevicius et al., "Mixed precision training", 2018.
"""

from __future__ import annotations

from typing import TypeVar

import jax

from gradserve_server.common.specs import LOSS_SCALE
from gradserve_server.compute.precision import widened
from gradserve_server.compute.program.computation import Arguments

Tree = TypeVar("Tree")


def scaled(value: jax.Array, arguments: Arguments) -> jax.Array:
    """What goes back, times the scale, if there is one."""
    scale = arguments.vectors.get(LOSS_SCALE)
    return value if scale is None else value * scale.astype(value.dtype)


def unscaled(gradients: Tree, arguments: Arguments) -> Tree:
    """Gradients of what was scaled, divided by the scale in at least 32 bits."""
    scale = arguments.vectors.get(LOSS_SCALE)
    if scale is None:
        return gradients

    def divide(gradient: jax.Array) -> jax.Array:
        wide = widened(gradient)
        return wide / scale.astype(wide.dtype)

    result: Tree = jax.tree.map(divide, gradients)
    return result

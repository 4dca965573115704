"""Derivatives as values."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from gradserve.v1 import network_pb2
from gradserve_server.common.specs import describe
from gradserve_server.compute.frontends.graph.call import AppliedBlock, Call, Value, as_array, form
from gradserve_server.compute.frontends.graph.table import operation


@operation("tangent", inputs=(0, None))
def tangent(call: Call[network_pb2.Tangent]) -> Value:
    """The derivative of an earlier block's first output, in the direction of the inputs (forward mode)."""
    block = call.blocks[call.attributes.of]
    call.used.extend((key, "point") for key in block.keys)
    if len(call.inputs) != len(block.inputs):
        raise call.refuse(
            "of",
            "it takes a direction for each input of the block",
            given=str(len(call.inputs)),
            expected=f"{len(block.inputs)} ({', '.join(block.inputs)})",
        )
    fixed = list(block.inputs.values())
    # The number 0 holds an input fixed: it costs nothing, and is all that an input of integers can have.
    moving = [index for index, direction in enumerate(call.inputs) if not _is_zero(direction)]
    points = [_point(call, block, index) for index in moving]
    directions = [_direction(call, index, point) for index, point in zip(moving, points, strict=True)]

    def output(*points: jax.Array) -> jax.Array:
        values = list(fixed)
        for index, point in zip(moving, points, strict=True):
            values[index] = point
        result = block.first_output(values)
        if not jnp.issubdtype(result.dtype, jnp.floating):
            raise call.refuse(
                "of",
                f"the first output of '{call.attributes.of}' has no derivative",
                given=form(result),
                expected="float32[...]",
            )
        return result

    if not moving:
        return jnp.zeros_like(output())
    derivative: jax.Array = jax.jvp(output, points, directions)[1]
    return derivative


def _is_zero(direction: Value) -> bool:
    return isinstance(direction, float) and direction == 0


def _point(call: Call[network_pb2.Tangent], block: AppliedBlock, index: int) -> jax.Array:
    name = list(block.inputs)[index]
    point = as_array(block.inputs[name], call.dtype)
    if not jnp.issubdtype(point.dtype, jnp.floating):
        raise call.refuse_input(
            index, f"the block's input '{name}' is {form(point)} and has no direction", "Give the constant number 0."
        )
    return point


def _direction(call: Call[network_pb2.Tangent], index: int, point: jax.Array) -> jax.Array:
    direction = call.floating(index)
    missing = point.ndim - direction.ndim
    shape = (1,) * missing + direction.shape
    if missing < 0 or any(size not in (1, wanted) for size, wanted in zip(shape, point.shape, strict=True)):
        raise call.refuse_input(
            index,
            "it does not broadcast to the block's input",
            expected=describe(direction.dtype, point.shape),
        )
    return jnp.broadcast_to(direction.reshape(shape), point.shape)

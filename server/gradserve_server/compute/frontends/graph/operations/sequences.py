"""Layers over a sequence: attention and recurrence."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp

from gradserve.v1 import network_pb2
from gradserve_server.common.errors import Problem, Reason
from gradserve_server.common.specs import describe
from gradserve_server.compute.frontends.graph.call import Call, Value
from gradserve_server.compute.frontends.graph.table import operation
from gradserve_server.compute.initializers import LECUN_NORMAL, ZEROS, Initializer
from gradserve_server.compute.ops import recurrent as ops
from gradserve_server.compute.ops.attention import attend, rotate

_INTO_HEADS = Initializer("variance_scaling", 1.0, input_axis=-3, output_axis=(-2, -1))
_OUT_OF_HEADS = Initializer("variance_scaling", 1.0, input_axis=(-3, -2), output_axis=-1)

_Cell = network_pb2.Recurrent.Cell
_CELLS = {_Cell.CELL_SIMPLE: ops.SIMPLE, _Cell.CELL_LSTM: ops.LSTM, _Cell.CELL_GRU: ops.GRU}


@operation("attention", inputs=(1, 3))
def attention(call: Call[network_pb2.Attention]) -> Value:
    """Multi-head attention of x [batch, length, features] to itself, or to the second input."""
    attributes = call.attributes
    masked = _has_mask(call)
    attended = len(call.inputs) - masked - 1
    if attended not in (0, 1):
        raise call.refuse(
            "mask",
            "the inputs are x, what it attends to, and a mask that is named",
            given=f"{len(call.inputs)} inputs, {'with' if masked else 'without'} a mask",
            expected="1 or 2 inputs beside the mask",
        )
    x, context = _sequence(call, 0), _sequence(call, attended)
    if x.shape[0] != context.shape[0]:
        raise call.refuse_input(1, "it has another number of examples than x", expected=f"{x.shape[0]} examples")
    heads, key_heads, size = _head_sizes(call, x.shape[2])
    query = _into_heads(call, "query", x, heads, size)
    key, value = (_into_heads(call, name, context, key_heads, size) for name in ("key", "value"))
    if attributes.rotary_base:
        query, key = (rotate(one, attributes.rotary_base) for one in (query, key))
    seen = _seen(call, (x.shape[0], heads, x.shape[1], context.shape[1])) if masked else None
    if attributes.causal:
        earlier = jnp.arange(context.shape[1])[None] <= jnp.arange(x.shape[1])[:, None]
        earlier = jnp.expand_dims(earlier, (0, 1))
        seen = earlier if seen is None else seen & earlier
    y = attend(query, key, value, seen)
    kernel = call.parameter("output/kernel", (heads, size, x.shape[2]), _OUT_OF_HEADS)
    y = jax.lax.dot_general(y, kernel, (((2, 3), (0, 1)), ((), ())))
    if attributes.without_bias:
        return y
    return y + call.parameter("output/bias", (x.shape[2],), ZEROS)[None, None]


def _has_mask(call: Call[Any]) -> int:
    """1 if the last input is a mask, else 0."""
    name = call.attributes.mask
    if name and (len(call.inputs) < 2 or call.node.inputs[-1] != name):
        raise call.refuse(
            "mask",
            "the last input is the mask",
            given=repr(name),
            expected=f"{call.node.inputs[-1]!r}" if len(call.inputs) > 1 else "a second input",
        )
    return int(bool(name))


def _sequence(call: Call[Any], index: int) -> jax.Array:
    x = call.floating(index)
    if x.ndim != 3:
        raise call.refuse_input(index, "it is no sequence", expected="[batch, length, features]")
    return x


def _head_sizes(call: Call[network_pb2.Attention], features: Any) -> tuple[int, int, int]:
    """Heads of queries, heads of keys and values, and features of one head."""
    attributes = call.attributes
    heads, base = call.positive("heads"), attributes.rotary_base
    key_heads = attributes.key_value_heads or heads
    if key_heads < 1 or heads % key_heads:
        raise call.refuse(
            "key_value_heads", "they do not divide the heads", given=str(key_heads), expected=f"a divisor of {heads}"
        )
    size = attributes.head_size
    if not size:
        if not isinstance(features, int) or features % heads:
            raise call.refuse(
                "heads", "they do not divide the features", given=str(heads), expected=f"a divisor of {features}"
            )
        size = features // heads
    if size < 1:
        raise call.refuse("head_size", "not a size", given=str(size), expected="at least 1")
    if not (math.isfinite(base) and base >= 0):
        raise call.refuse("rotary_base", "not a base", given=str(base), expected="more than 0, or 0 for none")
    if base and size % 2:
        raise call.refuse("rotary_base", "features turn in pairs", given=f"{size} features", expected="an even number")
    return heads, key_heads, size


def _into_heads(call: Call[network_pb2.Attention], name: str, x: jax.Array, heads: int, size: int) -> jax.Array:
    kernel = call.parameter(f"{name}/kernel", (x.shape[2], heads, size), _INTO_HEADS)
    y = jax.lax.dot_general(x, kernel, (((2,), (0,)), ((), ())))
    if call.attributes.without_bias:
        return y
    return y + call.parameter(f"{name}/bias", (heads, size), ZEROS)[None, None]


def _seen(call: Call[network_pb2.Attention], scores: tuple[Any, ...]) -> jax.Array:
    """Where the mask is not 0, with all four axes of the scores [batch, heads, queries, keys]."""
    index = len(call.inputs) - 1
    mask = call.mask(index)
    batch, heads, queries, keys = scores
    forms = {2: (batch, keys), 3: (batch, queries, keys), 4: (batch, heads, queries, keys)}
    form = forms.get(mask.ndim, ())
    if not form or any(size not in (1, wanted) for size, wanted in zip(mask.shape, form, strict=True)):
        raise call.refuse_input(
            index,
            "it is no mask of these scores",
            expected=" or ".join(describe("", one) for one in forms.values()) + ", where an axis may be 1",
        )
    missing = {2: (1, 2), 3: (1,), 4: ()}[mask.ndim]
    return jnp.expand_dims(mask, missing)


@operation("recurrent", inputs=(1, 2))
def recurrent(call: Call[network_pb2.Recurrent]) -> Value:
    """The states of a recurrent cell that reads x [batch, length, features] in order."""
    attributes = call.attributes
    cell = _CELLS.get(attributes.cell)
    if cell is None:
        raise Problem(Reason.MISSING_FIELD, "the cell is not set", field=f"{call.node.field}.cell")
    call.positive("units")
    if len(call.inputs) - _has_mask(call) != 1:
        raise call.refuse("mask", "the second input is not named as mask", expected=repr(call.node.inputs[-1]))
    x, seen = _sequence(call, 0), None
    if attributes.mask:
        mask = call.mask(1)
        if mask.ndim != 2 or any(size not in (1, wanted) for size, wanted in zip(mask.shape, x.shape, strict=False)):
            raise call.refuse_input(
                1, "it is no mask of this sequence", expected=f"{describe('', x.shape[:2])}, where an axis may be 1"
            )
        seen = jnp.broadcast_to(mask, x.shape[:2])
        # What is hidden counts for nothing, even if it is not finite.
        x = jnp.where(seen[..., None], x, jnp.zeros_like(x))
    if not attributes.bidirectional:
        return _direction(call, cell, x, seen, "", reverse=False)
    forward = _direction(call, cell, x, seen, "forward/", reverse=False)
    return jnp.concatenate([forward, _direction(call, cell, x, seen, "backward/", reverse=True)], -1)


def _direction(
    call: Call[network_pb2.Recurrent],
    cell: ops.Cell,
    x: jax.Array,
    seen: jax.Array | None,
    prefix: str,
    *,
    reverse: bool,
) -> jax.Array:
    units = call.attributes.units
    width = cell.gates * units
    kernel = call.parameter(f"{prefix}kernel", (x.shape[2], width), LECUN_NORMAL)
    recurrent_kernel = call.parameter(f"{prefix}recurrent_kernel", (units, width), LECUN_NORMAL)
    bias = call.parameter(f"{prefix}bias", (width,), ZEROS)
    recurrent_bias = call.parameter(f"{prefix}recurrent_bias", (width,), ZEROS) if cell.recurrent_bias else None
    # All positions in one product; the loop is left with what needs the state.
    gates = jax.lax.dot_general(x, kernel, (((2,), (0,)), ((), ()))) + bias[None, None]
    states, last = ops.recur(cell, gates, ops.Kernels(recurrent_kernel, recurrent_bias), seen, reverse=reverse)
    return last if call.attributes.last_only else states

"""Comparing, choosing, converting, indexing and ranking."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from gradserve.v1 import network_pb2, tensor_pb2
from gradserve_server.common.errors import Problem, Reason
from gradserve_server.compute.frontends.graph.call import Call, Value, form, promote
from gradserve_server.compute.frontends.graph.operations.arithmetic import same_rank
from gradserve_server.compute.frontends.graph.table import operation

_Function = network_pb2.Compare.Function
_COMPARISONS: dict[int, Callable[[jax.Array, jax.Array], jax.Array]] = {
    _Function.FUNCTION_EQUAL: jnp.equal,
    _Function.FUNCTION_NOT_EQUAL: jnp.not_equal,
    _Function.FUNCTION_LESS: jnp.less,
    _Function.FUNCTION_LESS_OR_EQUAL: jnp.less_equal,
    _Function.FUNCTION_GREATER: jnp.greater,
    _Function.FUNCTION_GREATER_OR_EQUAL: jnp.greater_equal,
}


@operation("compare", inputs=2)
def compare(call: Call[network_pb2.Compare]) -> Value:
    """Where the comparison that the node names holds."""
    comparison = _COMPARISONS.get(call.attributes.function)
    if comparison is None:
        raise Problem(Reason.MISSING_FIELD, "the function is not set", field=f"{call.node.field}.function")
    return comparison(*same_rank(call, promote(call, call.inputs)))


@operation("select", inputs=3)
def select(call: Call[network_pb2.Select]) -> Value:
    """Elements of a where the condition holds, else of b."""
    condition = call.array(0)
    if condition.dtype != jnp.bool_:
        raise call.refuse_input(0, "the condition is not boolean", "A `compare` makes one.", "bool[...]")
    condition, a, b = same_rank(call, [condition, *promote(call, call.inputs[1:])])
    return jnp.where(condition, a, b)


@operation("cast", moves_only=True)
def cast(call: Call[network_pb2.Cast]) -> Value:
    """The input in another element type; floating-point ones all stand for the type of the forward pass."""
    kind = call.attributes.data_type
    if kind == tensor_pb2.DATA_TYPE_UNSPECIFIED:
        raise Problem(Reason.MISSING_FIELD, "the type is not set", field=f"{call.node.field}.data_type")
    dtype = jnp.dtype(tensor_pb2.DataType.Name(kind).removeprefix("DATA_TYPE_").lower())
    return call.array().astype(call.dtype if jnp.issubdtype(dtype, jnp.floating) else dtype)


@operation("gather", inputs=2)
def gather(call: Call[network_pb2.Gather]) -> Value:
    """The elements of the first input that the second one names along an axis."""
    values = call.array()
    axis = call.axis(call.attributes.axis, values.ndim, "axis")
    size = values.shape[axis]
    indices = call.check_index(1, size)
    if not call.attributes.aligned:
        return jnp.take(values, indices, axis=axis, mode="clip")
    missing = indices.ndim == values.ndim - 1
    aligned = jnp.expand_dims(indices, axis) if missing else indices
    if not _agree(aligned.shape, values.shape, axis):
        raise call.refuse_input(
            1,
            f"it does not have the shape of the values beside axis {axis}",
            expected=f"like {form(values)}, where axis {axis} may be missing",
        )
    picked = jnp.take_along_axis(values, aligned, axis, mode="clip")
    return jnp.squeeze(picked, axis) if missing else picked


def _agree(shape: Sequence[object], other: Sequence[object], axis: int) -> bool:
    return len(shape) == len(other) and all(
        size == wanted for place, (size, wanted) in enumerate(zip(shape, other, strict=True)) if place != axis
    )


@operation("range", inputs=(0, 1))
def range_(call: Call[network_pb2.Range]) -> Value:
    """0, 1, 2 and so on."""
    length = call.attributes.WhichOneof("length")
    if length is None:
        raise Problem(Reason.MISSING_FIELD, "a range needs a length", field=call.node.field, expected="size or axis")
    count = 1 if length == "axis" else 0
    if len(call.inputs) != count:
        raise call.refuse(length, "wrong number of inputs", given=str(len(call.inputs)), expected=str(count))
    if length == "size":
        size = call.positive("size")
        if size > call.scope.limits.elements:
            raise call.refuse("size", "too large", given=str(size), expected=f"at most {call.scope.limits.elements}")
        return jnp.arange(size, dtype=jnp.int32)
    x = call.array()
    return jnp.arange(x.shape[call.axis(call.attributes.axis, x.ndim, "axis")], dtype=jnp.int32)


@operation("top_k")
def top_k(call: Call[network_pb2.TopK]) -> Value:
    """The k largest elements along the last axis in falling order, or their places; of equal ones the first."""
    x, k = call.array(), call.positive("k")
    if x.ndim < 1:
        raise call.refuse_input(0, "it needs at least one axis")
    if x.dtype == jnp.bool_:
        raise call.refuse_input(0, "it takes numbers, not booleans", "Put a `cast` before it.")
    size: Any = x.shape[-1]
    if not isinstance(size, int):
        # An axis that only has a name: any k elements have the form of the largest.
        some = jnp.take(x, jnp.arange(k), axis=-1, mode="clip")
        return some.astype(jnp.int32) if call.attributes.indices else some
    if k > size:
        raise call.refuse("k", "the last axis has not so many elements", given=str(k), expected=f"at most {size}")
    values, indices = jax.lax.top_k(x, k)
    return indices if call.attributes.indices else values

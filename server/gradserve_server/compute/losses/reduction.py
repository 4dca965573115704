"""How values become one number, and what example weights do to that."""

from __future__ import annotations

import math
from typing import Literal

import jax
import jax.numpy as jnp

from gradserve_server.common.errors import Problem, Reason
from gradserve_server.common.specs import describe

Reduction = Literal["mean", "sum", "sum_then_mean"]


def fit_weights(weights: jax.Array, shape: tuple[int, ...], field: str) -> jax.Array:
    """Example weights with axes of size one appended, so that they broadcast over values of this shape.

    Raises:
        Problem: the weights do not fit the first axes of the values.
    """
    given = describe(weights.dtype, weights.shape)
    if not shape:
        raise Problem(
            Reason.SHAPE_MISMATCH,
            "the loss is one number already, which example weights cannot weigh",
            field=field,
            given=given,
            hint="Leave them out, or let the loss have a value for each example.",
        )
    if weights.ndim == 0 or weights.shape != shape[: weights.ndim]:
        same = math.prod(weights.shape) == math.prod(shape)
        raise Problem(
            Reason.SHAPE_MISMATCH,
            "example weights must fit the first axes of the loss's values",
            field=field,
            given=given,
            expected=f"the first axes of [{', '.join(str(size) for size in shape)}]",
            hint="A loss never broadcasts: reshape them." if same else "",
        )
    return weights.reshape(weights.shape + (1,) * (len(shape) - weights.ndim))


def reduce(
    values: jax.Array, weights: jax.Array | None, reduction: Reduction, present: jax.Array | None = None
) -> tuple[jax.Array, jax.Array]:
    """The loss, and the sum of weights that combines the losses of parts of a batch.

    Mean: sum(w v) / sum(w) with w broadcast to the values, 0 if all w are 0; the sum of weights is that divisor. Sum:
    sum(w v); losses of parts add up, and the sum of weights is the divisor that would make a mean of it. Sum then mean:
    sum over examples of their weighted sums, divided by the sum of the examples' weights, an example's weight being the
    largest in it: so an example of padding counts for nothing. A scalar is the loss itself, of weight 1.

    With the mean and with sum then mean, the whole is sum(weight_sum * loss) / sum(weight_sum) over the parts.

    Args:
        values: one number for each element or position; the first axis counts examples.
        weights: None, or what `fit_weights` made, in the type of the values.
        reduction: which.
        present: None, or for each of the values whether it counts: the others are left out, whatever they are.
    """
    if values.ndim == 0:
        return values, jnp.ones((), values.dtype)
    if present is not None:
        values = jnp.where(present, values, 0)
        if weights is None:
            return _reduce_present(values, present, reduction)
        weights = jnp.where(present, weights, 0)
    if weights is None:
        total = jnp.sum(values)
        count = values.shape[0] if reduction == "sum_then_mean" else math.prod(values.shape)
        divisor = jnp.asarray(count, values.dtype)
        return (total if reduction == "sum" else total / divisor), divisor
    none = jnp.all(weights == 0)
    weights = jnp.broadcast_to(weights, values.shape)
    total = jnp.sum(jnp.where(weights == 0, 0, weights * values))
    if reduction == "sum_then_mean":
        divisor = jnp.sum(jnp.max(weights.reshape(weights.shape[0], -1), axis=1))
    else:
        divisor = jnp.sum(weights)
    if reduction == "sum":
        return total, divisor
    # Weights of both signs may cancel out: then there is no mean, and the loss says so by not being finite.
    return total / jnp.where(none, 1, divisor), divisor


def _reduce_present(values: jax.Array, present: jax.Array, reduction: Reduction) -> tuple[jax.Array, jax.Array]:
    """As `reduce` without weights, of values that are 0 where they do not count."""
    total = jnp.sum(values)
    if reduction == "sum_then_mean":
        present = jnp.any(present.reshape(present.shape[0], -1), axis=1)
    # Counted in integers, which floating-point sums of many ones are not.
    divisor = jnp.sum(present, dtype=jnp.int64).astype(values.dtype)
    return (total if reduction == "sum" else total / jnp.maximum(divisor, 1)), divisor

"""Examples of weight 0: padding, which must not change anything."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import jax
import jax.numpy as jnp

Arrays = Mapping[str, jax.Array]


def present_rows(batch: Arrays, names: Sequence[str]) -> jax.Array | None:
    """For each example, whether any of its weights is not 0; None where there are no weights."""
    if not names:
        return None
    present = None
    for name in names:
        weights = batch[name]
        own = jnp.any((weights != 0).reshape(weights.shape[0], -1), axis=1)
        present = own if present is None else present | own
    return present


def without_absent_rows(
    batch: Arrays, present: jax.Array, keep: Iterable[str], *, keep_finite: bool
) -> dict[str, jax.Array]:
    """`batch` with each example of weight 0 replaced by one that counts.

    Its gradient is multiplied by 0, and 0 times what is not finite would be NaN: a real row is safe.

    Args:
        batch: tensors by name.
        present: [batch], whether an example counts.
        keep: tensors to leave alone.
        keep_finite: leave rows alone that hold finite numbers only.
    """
    stand_in = jnp.argmax(present)
    kept = frozenset(keep)
    result = dict(batch)
    for name, values in batch.items():
        if name in kept:
            continue
        replace = ~present
        if keep_finite:
            if not jnp.issubdtype(values.dtype, jnp.floating):
                continue
            replace &= ~jnp.all(jnp.isfinite(values).reshape(values.shape[0], -1), axis=1)
        mask = replace.reshape((-1,) + (1,) * (values.ndim - 1))
        result[name] = jnp.where(mask, values[stand_in][None], values)
    return result

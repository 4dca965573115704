"""Batches padded to a few sizes, so that batches of many sizes share a few programs.

What is added are copies of a real example that no loss counts: their values are left out before they are reduced, and
so their part of every gradient is 0.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
from msgspec import structs

from gradserve_server.common.specs import LOSS_SCALE, TERM_WEIGHTS, ArraySpec, ProgramSpec, ResultSpec
from gradserve_server.compute.losses import Unreduced
from gradserve_server.compute.rows import Form, Rows

# Name, in a padded batch, of what tells for each of its examples whether it was sent: bool [examples].
PRESENT = "present examples"

# Kinds whose results are known to be those of the batch without what was added.
_KINDS = frozenset({"gradients", "forward", "hessian_product"})
# Below these, a batch of a size that others are padded to has a program of its own: small requests may share a run.
_FEW_EXAMPLES = 4
_SMALL_BYTES = 128 << 10
# Vectors that have no axis of examples.
_WITHOUT_EXAMPLES = "vector."


@dataclasses.dataclass(frozen=True)
class Padding:
    """Where the examples lie in what a forward pass gives.

    Attributes:
        outputs: in each output, by name.
        values: in each array of the values of the loss.
    """

    outputs: Mapping[str, Form]
    values: tuple[Form, ...]

    def without_added(self, values: Sequence[Unreduced], batch: Mapping[str, jax.Array]) -> list[Unreduced]:
        """Values of the loss, those of examples that were added marked as not present."""
        return [
            one if form is None else dataclasses.replace(one, present=_spread(batch[PRESENT], form, one.values.shape))
            for one, form in zip(values, self.values, strict=True)
        ]

    def rows_of(self, spec: ProgramSpec, result: ResultSpec) -> Form:
        """Where the examples lie in a result of a program of this spec."""
        match result.group:
            case "output":
                return self.outputs[result.array.name]
            case "example":
                return Rows(0)
            case "gradient":
                return Rows(0) if spec.selection.per_example else None
            case "input_gradient":
                is_shared = result.array.name in spec.shared and not spec.selection.per_example
                return None if is_shared else Rows(0)
            case _:
                return None


def padded_size(examples: int) -> int:
    """The least number that is not below `examples` and has two significant bits: 1, 2, 3, 4, 6, 8, 12, 16, 24, ..."""
    step = 1 << max(0, examples.bit_length() - 2)
    return -(-examples // step) * step


def examples_of(spec: ProgramSpec) -> int:
    """How many examples a batch holds; 0 where all of it is shared, or its arrays do not agree on a number."""
    sizes = {one.shape[:1] for one in spec.batch if one.name not in spec.shared}
    return next(iter(sizes))[0] if len(sizes) == 1 and () not in sizes else 0


def padded(spec: ProgramSpec, examples: int) -> ProgramSpec:
    """`spec` with a batch of so many examples, which says of each whether it was sent."""
    present = ArraySpec(PRESENT, "bool", (examples,))
    return structs.replace(spec, batch=(*resized(spec, examples).batch, present), padded=True)


def resized(spec: ProgramSpec, examples: int) -> ProgramSpec:
    """`spec` with a batch of another number of examples."""
    batch = tuple(
        one if one.name in spec.shared else ArraySpec(one.name, one.dtype, (examples, *one.shape[1:]))
        for one in spec.batch
    )
    return structs.replace(spec, batch=batch)


def may_be_padded(spec: ProgramSpec) -> bool:
    """Whether what is asked for is to be had from a padded batch, as far as that shows without the network.

    A batch of a size that others are padded to may run their program as well, nothing being added to it.
    """
    examples = examples_of(spec)
    if padded_size(examples) == examples:
        nbytes = sum(one.nbytes for one in (*(spec.weights or ()), *spec.batch))
        if examples <= _FEW_EXAMPLES or nbytes <= _SMALL_BYTES:
            return False
    return (
        spec.kind in _KINDS
        and not spec.padded
        and not spec.options.exact_batch
        # Parts are of the batch as it was sent, and static values are as they were sent.
        and spec.options.micro_batches == 1
        and not spec.static
        and all(one.name != PRESENT for one in spec.batch)
        and all(
            one.name == LOSS_SCALE or one.name.endswith(TERM_WEIGHTS) or one.name.startswith(_WITHOUT_EXAMPLES)
            for one in spec.vectors
        )
    )


def _spread(present: jax.Array, rows: Rows, shape: tuple[int, ...]) -> jax.Array:
    """For each element of an array in which examples lie so, whether its example is present."""
    examples = present.shape[0]
    along = jnp.broadcast_to(present[:, None], (rows.outer, examples, rows.inner)).reshape(rows.size(examples))
    return jnp.broadcast_to(along.reshape((-1,) + (1,) * (len(shape) - rows.axis - 1)), shape)

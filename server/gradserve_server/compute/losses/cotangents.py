"""Vector-Jacobian products: <output, cotangent>, summed over outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import final

import jax
import jax.numpy as jnp

from gradserve_server.common.errors import Problem, Reason, near
from gradserve_server.common.specs import describe
from gradserve_server.common.tracing import Term
from gradserve_server.compute.losses.loss import Arrays, Forms, Loss, LossValue, Tensors, Unreduced, computing_type
from gradserve_server.compute.network import Context


@final
class Cotangents(Loss):
    """See `Loss`. Its gradient is that of the cotangents drawn back through the network.

    Args:
        names: outputs that have a cotangent, in order of name.
        field: its path in the request.
        stacked: whether each cotangent has a first axis that counts vectors.

    Attributes:
        names: as given.
    """

    def __init__(self, names: tuple[str, ...], field: str, *, stacked: bool) -> None:
        self.names = names
        self.stacked = stacked
        self.parts = len(names)
        self.weights_names = ()
        self.tensors = frozenset()
        self._places = {name: f"{field}.by_output.{name}" for name in names}

    def unreduced(self, tensors: Tensors, context: Context) -> list[Unreduced]:
        cotangents = self.by_output(tensors.outputs, tensors.vectors)
        if context.tape is not None:
            context.tape.loss(list(cotangents), [Term("the cotangent that was sent for it")] * len(cotangents))
        parts = []
        for name, cotangent in cotangents.items():
            output = tensors.outputs[name].astype(cotangent.dtype)
            if self.stacked:
                output = output[None]
            # What has a cotangent of 0 adds nothing, even where it is not finite.
            product = jnp.where(cotangent == 0, 0, jnp.broadcast_to(output, cotangent.shape) * cotangent)
            parts.append(Unreduced(product, None, "sum", ""))
        return parts

    def combine(self, parts: Sequence[Unreduced], vectors: Arrays) -> LossValue:
        """The sum of all products, over vectors as well where they are stacked."""
        dtype = max((one.values.dtype for one in parts), key=lambda one: one.itemsize)
        total = jnp.zeros((), dtype)
        for part in parts:
            total += jnp.sum(part.values).astype(dtype)
        return LossValue(total, jnp.ones((), dtype), {})

    def target_forms(self, outputs: Forms) -> dict[str, jax.ShapeDtypeStruct]:
        return {}

    def by_output(self, outputs: Arrays, vectors: Arrays) -> dict[str, jax.Array]:
        """The cotangent of each output that has one, in the type that the loss is computed in.

        Raises:
            Problem: one does not fit its output.
        """
        cotangents: dict[str, jax.Array] = {}
        for name, place in self._places.items():
            if name not in outputs:
                raise Problem(
                    Reason.UNKNOWN_NAME,
                    "the network has no such output",
                    field=place,
                    given=repr(name),
                    hint=near(name, outputs),
                )
            cotangents[name] = self._fitting(outputs[name], vectors[place], place)
        self._check_counts(cotangents)
        return cotangents

    def _fitting(self, output: jax.Array, cotangent: jax.Array, place: str) -> jax.Array:
        shape = output.shape
        if self.stacked:
            shape = (cotangent.shape[0] if cotangent.ndim else 1, *shape)
        dtype = computing_type(output)
        expected = describe(jnp.dtype(dtype).name, ("vectors", *output.shape) if self.stacked else shape)
        given = describe(cotangent.dtype, cotangent.shape)
        if not jnp.issubdtype(output.dtype, jnp.floating):
            raise Problem(
                Reason.NOT_DIFFERENTIABLE,
                "only floating-point outputs have cotangents",
                field=place,
                given=f"an output {describe(output.dtype, output.shape)}",
            )
        if not jnp.issubdtype(cotangent.dtype, jnp.floating):
            raise Problem(
                Reason.DTYPE_MISMATCH,
                "cotangents are floating-point numbers",
                field=place,
                given=given,
                expected=expected,
            )
        if cotangent.shape != shape:
            hint = ""
            if not self.stacked and cotangent.shape[1:] == shape:
                hint = "Set `stacked` if its first axis counts vectors."
            raise Problem(
                Reason.SHAPE_MISMATCH,
                "the cotangent has not the shape of its output",
                field=place,
                given=given,
                expected=expected,
                hint=hint,
            )
        return cotangent.astype(dtype)

    def _check_counts(self, cotangents: Mapping[str, jax.Array]) -> None:
        if not self.stacked:
            return
        counts = {name: cotangent.shape[0] for name, cotangent in cotangents.items()}
        first = next(iter(counts))
        for name, count in counts.items():
            place = self._places[name]
            if not count:
                raise Problem(Reason.SHAPE_MISMATCH, "it holds no vectors", field=place, expected="at least 1")
            if count != counts[first]:
                raise Problem(
                    Reason.SHAPE_MISMATCH,
                    f"its number of vectors is not that of '{first}'",
                    field=place,
                    given=str(count),
                    expected=str(counts[first]),
                )

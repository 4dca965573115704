"""Each example's own loss and gradient, from the program of the whole batch.

An example's own loss is that of a batch which holds it alone, but for what is random: there it is what it is in the
whole. So the loss of the batch is the sum of own losses, each times its share: with a sum, 1; with a mean, its part of
the weights, or of the examples where there are none.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, TypeAlias, final

import jax
import jax.numpy as jnp

from gradserve_server.common.errors import Problem, Reason
from gradserve_server.compute import rows
from gradserve_server.compute.checkpointing import checkpointed
from gradserve_server.compute.losses import Unreduced
from gradserve_server.compute.program.computation import Arguments, Arrays, Computation
from gradserve_server.compute.program.norms import factor_to, global_norm
from gradserve_server.compute.program.scaling import scaled, unscaled

# What the gradients of the examples that are taken at once may hold: more does not stay in the cache.
_CHUNK_BYTES = 1 << 24

# Gradients of parameters, and of inputs.
Gradients: TypeAlias = tuple[Arrays, Arrays]


@final
class Examples:
    """The examples of one request.

    Args:
        computation: the computation; it has a loss.
        arguments: its arrays.
        field: of the request that asks for them.

    Raises:
        Problem: examples depend on each other.
    """

    def __init__(self, computation: Computation, arguments: Arguments, field: str) -> None:
        assert computation.loss is not None
        self._computation, self._loss, self._field = computation, computation.loss, field
        shared = frozenset(computation.spec.shared)
        self._own = sorted(one.name for one in computation.spec.batch if one.name not in shared)
        if not self._own:
            raise Problem(Reason.INVALID_VALUE, "all of the batch is shared, and so holds no examples", field=field)
        self._parameters, inputs = computation.point(arguments)
        self._arguments = computation.with_present_rows(arguments.at({}, inputs))
        self._inputs = {name: self._arguments.batch[name] for name in inputs}
        self._count = arguments.batch[self._own[0]].shape[0]
        self._most = -(-self._count // computation.spec.options.micro_batches)
        self._part, self._forms = self._divide()

    def norms(self) -> tuple[jax.Array, jax.Array]:
        """Each example's own loss and the norm of its gradient over all parameters, [examples] both.

        No more gradients are held at a time than stay in the cache.
        """

        def one(index: jax.Array) -> tuple[jax.Array, jax.Array]:
            loss, (of_parameters, _) = self._gradients(index)
            return loss, global_norm(of_parameters)

        losses, norms = self._map(one)
        return losses, norms

    def gradients(self, most: float) -> tuple[jax.Array, jax.Array, Gradients]:
        """Each example's own loss, norm and gradients, along a new first axis.

        The gradient of an input has the input's shape, as each example has a part of it; that of a shared input has a
        new first axis too.

        Args:
            most: norm that an example's gradient over all parameters is scaled to at most; 0 for any.
        """

        def one(index: jax.Array) -> tuple[jax.Array, jax.Array, Gradients]:
            loss, (of_parameters, of_inputs) = self._gradients(index)
            size = global_norm(of_parameters)
            if most:
                factor = factor_to(size, most)
                of_parameters = {name: value * factor.astype(value.dtype) for name, value in of_parameters.items()}
            own = {name: value[0] if name in self._own else value for name, value in of_inputs.items()}
            return loss, size, (of_parameters, own)

        losses, norms, gradients = self._map(one)
        return losses, norms, gradients

    def clipped(self, norms: jax.Array, most: float) -> Arrays:
        """Gradients of the parameters, each example's scaled to at most this norm before they are reduced.

        Args:
            norms: those of `norms`.
            most: the norm.

        Raises:
            Problem: the loss has terms that reduce examples in different ways.
        """
        factors = self._shares().astype(jnp.float64) * factor_to(norms, most)

        def total(parameters: Arrays) -> jax.Array:
            def loss(index: jax.Array) -> jax.Array:
                return self._own_loss(index, parameters, self._inputs_of(index))

            if self._most < self._count:
                losses = jax.lax.map(jax.checkpoint(loss, prevent_cse=False), self._numbers, batch_size=self._most)
            else:
                losses = jax.vmap(loss)(self._numbers)
            return scaled(jnp.sum(losses * factors.astype(losses.dtype)), self._arguments)

        return unscaled(jax.grad(total)(self._parameters), self._arguments)

    @property
    def _numbers(self) -> jax.Array:
        return jnp.arange(self._count, dtype=jnp.int32)

    def _map(self, function: Callable[[jax.Array], Any]) -> Any:
        """`function` of the number of each example, some at a time."""
        size = chunk_size(self._count, sum(value.nbytes for value in self._parameters.values()), self._most)
        return jax.lax.map(function, self._numbers, batch_size=size)

    def _gradients(self, index: jax.Array) -> tuple[jax.Array, Gradients]:
        def objective(parameters: Arrays, inputs: Arrays) -> tuple[jax.Array, jax.Array]:
            loss = self._own_loss(index, parameters, inputs)
            return scaled(loss, self._arguments), loss

        differentiated = jax.value_and_grad(objective, argnums=(0, 1), has_aux=True)
        (_, loss), gradients = differentiated(self._parameters, self._inputs_of(index))
        return loss, unscaled(gradients, self._arguments)

    def _inputs_of(self, index: jax.Array) -> Arrays:
        """An example's part of the inputs to differentiate with respect to."""
        return {name: self._part_of(name, value, index) for name, value in self._inputs.items()}

    def _part_of(self, name: str, value: jax.Array, index: jax.Array) -> jax.Array:
        return rows.take(value, rows.Rows(0), self._count, index, 1) if name in self._own else value

    def _own_loss(self, index: jax.Array, parameters: Arrays, inputs: Arrays) -> jax.Array:
        parts = self._values_of(index, parameters, inputs)
        return self._loss.combine(parts, self._arguments.vectors).loss

    def _values_of(self, index: jax.Array, parameters: Arrays, inputs: Arrays) -> list[Unreduced]:
        batch = {name: self._part_of(name, value, index) for name, value in self._arguments.batch.items()}
        return self._part(index, dataclasses.replace(self._arguments, batch=batch).at(parameters, inputs))

    def _divide(self) -> tuple[Callable[[jax.Array, Arguments], list[Unreduced]], list[Any]]:
        """The values of the loss for one example alone; and where the examples lie in those of all of them."""
        arrays, tree = jax.tree.flatten(self._arguments)
        structure: Any = None

        def values(*arrays: jax.Array) -> list[jax.Array]:
            nonlocal structure
            flat, structure = jax.tree.flatten(self._computation.unreduced(jax.tree.unflatten(tree, arrays)))
            return flat

        traced = jax.make_jaxpr(values)(*arrays)
        # An index for each array tells which of them are of the batch.
        numbered = jax.tree.unflatten(tree, range(len(arrays)))
        own = {numbered.batch[name] for name in self._own}
        inputs = [rows.Rows(0) if index in own else None for index in range(len(arrays))]
        try:
            part = rows.part_of(traced, inputs, self._count, 1)
        except rows.InseparableError as error:
            raise self._refusal(error.mixing) from None

        def divided(index: jax.Array, arguments: Arguments) -> list[Unreduced]:
            found: list[Unreduced] = jax.tree.unflatten(structure, part(index, jax.tree.leaves(arguments)))
            return found

        lean = checkpointed(divided, self._computation.spec.options.checkpointing)
        return lean, jax.tree.unflatten(structure, rows.find_rows(traced, inputs, self._count))

    def _refusal(self, mixing: rows.Mixing) -> Problem:
        return Problem(
            Reason.DEPENDENT_EXAMPLES,
            "examples of the batch depend on each other, so that none has a loss of its own",
            field=self._field,
            node=mixing.node,
            given=f"the operation '{mixing.operation}' over examples",
            metadata={"operation": mixing.operation},
        )

    def _shares(self) -> jax.Array:
        """What part of each example's own loss is in that of the batch, [examples]."""
        if self._count == 1:
            return jnp.ones(1, jnp.float32)
        own = [index for index, one in enumerate(self._forms) if one.values is not None]
        ways = {_way(self._forms[index]) for index in own}
        # A term without examples is in each own loss: it is there once in the whole where shares add up to 1.
        if len(ways) != 1 or (ways == {("sum", "", "")} and len(own) < len(self._forms)):
            raise Problem(
                Reason.INVALID_LOSS,
                "its terms reduce examples in different ways, so that there is no one way to reduce their gradients",
                field=self._field,
                hint="Give all terms the same reduction and example weights.",
            )
        if ways == {("sum", "", "")}:
            return jnp.ones(self._count, jnp.float32)

        def weight(index: jax.Array) -> jax.Array:
            return self._values_of(index, self._parameters, self._inputs_of(index))[own[0]].reduced().weight_sum

        weights = jax.vmap(weight)(self._numbers)
        return weights / jnp.where(jnp.all(weights == 0), 1, jnp.sum(weights))


def _way(form: Any) -> tuple[str, str, str]:
    """What tells whether two terms have the same shares."""
    if form.reduction == "sum":
        return "sum", "", ""
    return "mean", form.weights_name, form.reduction if form.weights_name else ""


def chunk_size(count: int, held: int, most: int) -> int:
    """How many examples to take at once, given how many there are, the bytes of one gradient, and how many may be."""
    most = max(1, min(count, most, _CHUNK_BYTES // max(held, 1)))
    # A rest would be compiled a second time.
    whole = next(size for size in range(most, 0, -1) if count % size == 0)
    return whole if whole * 2 > most else most

"""A batch in parts, one after the other, with the result of the whole.

The values of a loss (one for each element, before they become one number) are the same in a part as in the whole, and
their cotangents follow from the weights of the whole batch alone. So each part goes forward, takes its own cotangents
of those of the whole on its way back, and what its gradients add up to is the gradient of the whole.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, final

import jax
import jax.numpy as jnp
from jax.extend import core
from jax.interpreters import partial_eval

from gradserve_server.common.errors import Problem, Reason
from gradserve_server.compute import rows
from gradserve_server.compute.checkpointing import checkpointed
from gradserve_server.compute.losses import LossValue, Unreduced
from gradserve_server.compute.program.computation import Arguments, Arrays, Computation, Evaluation
from gradserve_server.compute.program.scaling import scaled, unscaled

_FIELD = "options.micro_batches"
_EXAMPLES = rows.Rows(0)


def evaluate(computation: Computation, arguments: Arguments, outputs: Sequence[str]) -> Evaluation:
    """Forward, in as many parts as the options say: some outputs and, if there is one, the loss of the whole batch.

    Its derivatives, of any mode and order, go through the parts one after the other as well; a backward pass computes
    each part again.

    Args:
        computation: the computation.
        arguments: its arrays.
        outputs: names of those that are wanted.

    Raises:
        Problem: as `of_parts`.
    """
    if computation.spec.options.micro_batches > 1:
        return _Batch(computation, computation.with_present_rows(arguments), outputs).evaluate()
    return computation.evaluate(arguments)


def of_parts(computation: Computation, arguments: Arguments) -> tuple[Evaluation, Arrays, Arrays]:
    """Outputs and loss of the whole batch, and gradients with respect to parameters and inputs.

    Raises:
        Problem: examples depend on each other, or there are fewer of them than parts.
    """
    parameters, inputs = computation.point(arguments)
    given = computation.with_present_rows(arguments.at({}, inputs))
    batch = _Batch(computation, given, computation.spec.outputs)
    found, of_parameters, of_inputs = batch.gradients(parameters)
    return found, unscaled(of_parameters, arguments), unscaled(of_inputs, arguments)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class _Forward:
    """What a forward pass gives.

    Attributes:
        outputs: those that are asked for, by name.
        values: of the loss, in order.
        weights: of the values, in order.
        updated_statistics: by name.
        failed: for each check, whether it has.
    """

    outputs: Arrays
    values: list[jax.Array]
    weights: list[jax.Array | None]
    updated_statistics: Arrays
    failed: list[jax.Array]


@final
class _Batch:
    """The batch of one request, its forward pass traced once."""

    def __init__(self, computation: Computation, arguments: Arguments, outputs: Sequence[str]) -> None:
        self._computation, self._arguments, self._asked = computation, arguments, outputs
        shared = frozenset(computation.spec.shared)
        self._own = sorted(one.name for one in computation.spec.batch if one.name not in shared)
        self._count = arguments.batch[self._own[0]].shape[0] if self._own else 0
        self._parts = computation.spec.options.micro_batches
        if self._parts > self._count:
            raise Problem(
                Reason.INVALID_VALUE,
                "there are not so many examples" if self._own else "all of the batch is shared, and has no parts",
                field=_FIELD,
                given=str(self._parts),
                expected=f"at most {self._count}" if self._own else "0",
            )
        self._leaves, self._tree = jax.tree.flatten(arguments)
        self._forms: list[Unreduced] = []
        self._problems: tuple[Problem, ...] = ()
        traced, form = jax.make_jaxpr(self._forward, return_shape=True)(*self._leaves)
        self._program, self._form = traced, jax.tree.structure(form)
        numbered: Arguments = jax.tree.unflatten(self._tree, range(len(self._leaves)))
        own = {numbered.batch[name] for name in self._own}
        self._inputs = [_EXAMPLES if index in own else None for index in range(len(self._leaves))]
        numbers: Any = jax.tree.unflatten(self._form, range(len(traced.jaxpr.outvars)))
        self._names = list(numbers.outputs)
        # What is divided: outputs, then values.
        self._divided = self._with_outputs([*numbers.outputs.values(), *numbers.values])
        self._whole = self._with_outputs(
            [
                *(one for one in numbers.weights if one is not None),
                *numbers.updated_statistics.values(),
                *numbers.failed,
            ]
        )
        self._statistics = list(numbers.updated_statistics)

    def gradients(self, parameters: Arrays) -> tuple[Evaluation, Arrays, Arrays]:
        """See `of_parts`; the gradients are still scaled."""
        computation = self._computation
        weights, statistics, failed = self._of_whole()
        forms = self._layout()
        cotangents = self._cotangents(weights)
        of_parameters = jax.tree.map(jnp.zeros_like, parameters)
        asked = computation.spec.selection.inputs
        of_shared = {name: jnp.zeros_like(self._arguments.batch[name]) for name in asked if name not in self._own}
        pieces: list[list[tuple[jax.Array, int]]] = []
        for first, parts, examples in self._division():
            of_parameters, of_shared, stacks = self._run(
                first, parts, examples, parameters, cotangents, forms, (of_parameters, of_shared)
            )
            pieces.append([(stack, examples) for stack in stacks])
        layouts = [*forms, *(_EXAMPLES for name in asked if name in self._own)]
        whole = [_joined(list(each), layout) for each, layout in zip(zip(*pieces, strict=True), layouts, strict=True)]
        outputs = dict(zip(self._names, whole, strict=False))
        values = whole[len(self._names) : len(forms)]
        own_gradients = dict(zip((name for name in asked if name in self._own), whole[len(forms) :], strict=True))
        found = Evaluation(outputs, self._loss(values, weights), statistics, failed, self._problems)
        return found, of_parameters, own_gradients | of_shared

    def evaluate(self) -> Evaluation:
        """See `evaluate`."""
        weights, statistics, failed = self._of_whole()
        forms = self._layout()
        pieces: list[list[tuple[jax.Array, int]]] = []
        for first, parts, examples in self._division():
            turn = self._turn(first, examples)
            _, stacks = jax.lax.scan(turn, (), jnp.arange(parts, dtype=jnp.int32))
            pieces.append([(stack, examples) for stack in stacks])
        whole = [_joined(list(each), form) for each, form in zip(zip(*pieces, strict=True), forms, strict=True)]
        outputs = dict(zip(self._names, whole, strict=False))
        loss = None if self._computation.loss is None else self._loss(whole[len(self._names) :], weights)
        return Evaluation(outputs, loss, statistics, failed, self._problems)

    def _turn(self, first: int, size: int) -> Callable[[tuple[()], jax.Array], tuple[tuple[()], list[jax.Array]]]:
        """Forward through a part, which leaves nothing for a backward pass but its number."""
        part = rows.part_of(self._divided, self._inputs, self._count, size)

        def forward(start: jax.Array, arguments: Arguments) -> list[jax.Array]:
            cut = {name: self._cut(arguments.batch[name], _EXAMPLES, start, size) for name in self._own}
            return list(part(start, jax.tree.leaves(arguments.at({}, cut))))

        lean = checkpointed(forward, self._computation.spec.options.checkpointing)

        # Forward and backward pass are loops of their own, which nothing merges.
        @functools.partial(jax.checkpoint, prevent_cse=False)
        def turn(none: tuple[()], number: jax.Array) -> tuple[tuple[()], list[jax.Array]]:
            return none, lean(first + number * size, self._arguments)

        return turn

    def _division(self) -> Iterator[tuple[int, int, int]]:
        """First example, number and size of parts that are as equal as they can be: a few with one more come first."""
        size, longer = divmod(self._count, self._parts)
        if longer:
            yield 0, longer, size + 1
        yield longer * (size + 1), self._parts - longer, size

    def _layout(self) -> list[rows.Form]:
        """Where the examples lie in outputs and values.

        Raises:
            Problem: they depend on each other.
        """
        states = rows.find_rows(self._divided, self._inputs, self._count)
        mixed = next((one for one in states if isinstance(one, rows.Mixing)), None)
        if mixed is not None:
            raise _refusal(mixed)
        return [one for one in states if not isinstance(one, rows.Mixing)]

    def _forward(self, *leaves: jax.Array) -> _Forward:
        arguments: Arguments = jax.tree.unflatten(self._tree, leaves)
        context = self._computation.new_context(arguments)
        outputs, values = self._computation.forward(arguments, context)
        self._forms = values
        self._problems = tuple(check.problem for check in context.checks)
        return _Forward(
            {name: outputs[name] for name in self._asked},
            [one.values for one in values],
            [one.weights for one in values],
            context.updated_statistics,
            [check.failed for check in context.checks],
        )

    def _with_outputs(self, numbers: Sequence[int]) -> core.ClosedJaxpr:
        """The forward pass with some of its results only."""
        jaxpr = self._program.jaxpr
        outvars = [jaxpr.outvars[number] for number in numbers]
        return core.ClosedJaxpr(
            jaxpr.replace(outvars=outvars, debug_info=jaxpr.debug_info.with_unknown_names()), self._program.consts
        )

    def _of_whole(self) -> tuple[list[jax.Array | None], Arrays, list[jax.Array]]:
        """Weights of the values, statistics and checks: what does not go through the layers costs no memory."""
        closed = self._whole
        jaxpr, used = partial_eval.dce_jaxpr(closed.jaxpr, [True] * len(closed.jaxpr.outvars))
        given = [one for one, needed in zip(self._leaves, used, strict=True) if needed]
        results = iter(core.jaxpr_as_fun(core.ClosedJaxpr(jaxpr, closed.consts))(*given))
        weights = [None if one.weights is None else next(results) for one in self._forms]
        statistics = {name: next(results) for name in self._statistics}
        return weights, statistics, list(results)

    def _loss(self, values: Sequence[jax.Array], weights: Sequence[jax.Array | None]) -> LossValue:
        loss = self._computation.loss
        assert loss is not None
        parts = [
            dataclasses.replace(form, values=one, weights=weight)
            for form, one, weight in zip(self._forms, values, weights, strict=True)
        ]
        return loss.combine(parts, self._arguments.vectors)

    def _cotangents(self, weights: Sequence[jax.Array | None]) -> list[jax.Array]:
        """Of the values of the whole batch: the loss is linear in them."""

        def total(values: list[jax.Array]) -> jax.Array:
            return scaled(self._loss(values, weights).loss, self._arguments)

        found: list[jax.Array] = jax.grad(total)([jnp.zeros(one.values.shape, one.values.dtype) for one in self._forms])
        return found

    def _run(
        self,
        first: int,
        parts: int,
        size: int,
        parameters: Arrays,
        cotangents: Sequence[jax.Array],
        forms: Sequence[rows.Form],
        sums: tuple[Arrays, Arrays],
    ) -> tuple[Arrays, Arrays, list[jax.Array]]:
        """`parts` parts of `size` examples each, from the example `first` on.

        Returns:
            `sums` with their gradients added; and of each part outputs, values and gradients of inputs that have
            examples, stacked.
        """
        part = rows.part_of(self._divided, self._inputs, self._count, size)
        names, arguments = self._computation.spec.selection.inputs, self._arguments

        def forward(
            parameters: Arrays, inputs: Arrays, start: jax.Array, batch: Arrays, rest: Arguments
        ) -> tuple[list[jax.Array], list[jax.Array]]:
            given = dataclasses.replace(rest, batch=batch).at(parameters, inputs)
            results = part(start, jax.tree.leaves(given))
            return results[len(self._names) :], results[: len(self._names)]

        lean = checkpointed(forward, self._computation.spec.options.checkpointing)

        def turn(sums: tuple[Arrays, Arrays], number: jax.Array) -> tuple[tuple[Arrays, Arrays], list[jax.Array]]:
            start = first + number * size
            batch = {
                name: self._cut(value, _EXAMPLES, start, size) if name in self._own else value
                for name, value in arguments.batch.items()
            }
            inputs = {name: batch[name] for name in names}
            values, pull, outputs = jax.vjp(
                lambda parameters, inputs: lean(parameters, inputs, start, batch, arguments),
                parameters,
                inputs,
                has_aux=True,
            )
            own = [
                # What depends on no example is there once.
                jnp.where(start == 0, one, 0) if form is None else self._cut(one, form, start, size)
                for one, form in zip(cotangents, forms[len(self._names) :], strict=True)
            ]
            of_parameters, of_inputs = pull(own)
            added = jax.tree.map(jnp.add, sums, (of_parameters, {name: of_inputs[name] for name in sums[1]}))
            return added, [*outputs, *values, *(of_inputs[name] for name in names if name in self._own)]

        (of_parameters, of_shared), stacks = jax.lax.scan(turn, sums, jnp.arange(parts, dtype=jnp.int32))
        return of_parameters, of_shared, stacks

    def _cut(self, value: jax.Array, form: rows.Rows, start: jax.Array, size: int) -> jax.Array:
        return rows.take(value, form, self._count, start, size)


def _joined(stacks: list[tuple[Any, int]], form: rows.Form) -> jax.Array:
    """The whole of what parts gave: stacks [parts, ...], each with the examples of one of its parts."""
    return stacks[0][0][0] if form is None else rows.join_parts(stacks, form)


def _refusal(mixing: rows.Mixing) -> Problem:
    return Problem(
        Reason.DEPENDENT_EXAMPLES,
        "examples of the batch depend on each other, so that it has no parts",
        field=_FIELD,
        node=mixing.node,
        given=f"the operation '{mixing.operation}' over examples",
        metadata={"operation": mixing.operation},
    )

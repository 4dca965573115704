"""Network, loss, what to differentiate and options: one request, and its forward pass as a pure function."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from gradserve_server.common.errors import Problem
from gradserve_server.common.specs import ArraySpec, Mode, ProgramSpec
from gradserve_server.common.tracing import Layout
from gradserve_server.compute.checkpointing import checkpointed
from gradserve_server.compute.losses import Loss, LossValue, Tensors, Unreduced
from gradserve_server.compute.network import Context, Network, Signature
from gradserve_server.compute.precision import DTYPES, widened
from gradserve_server.compute.program.absent_rows import present_rows, without_absent_rows
from gradserve_server.compute.program.padding import PRESENT, Padding
from gradserve_server.compute.tape import Tape

Arrays = dict[str, jax.Array]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Evaluation:
    """What a forward pass gives; a tree of arrays, so that it can leave any transformation as auxiliary output.

    Attributes:
        outputs: by name.
        loss: None where there is none.
        updated_statistics: by name.
        failed: for each of `problems`, whether it is the case.
        problems: what the data may turn out to be guilty of.
    """

    outputs: Arrays
    loss: LossValue | None
    updated_statistics: Arrays
    failed: list[jax.Array]
    problems: tuple[Problem, ...] = dataclasses.field(metadata={"static": True})


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Arguments:
    """The arrays of one request.

    Attributes:
        parameters: by name, in the type that the computation has.
        statistics: by name.
        batch: by name.
        vectors: what is data in loss and options, by its place in the request.
        seed: of what is random; an integer scalar.
        gradients: of parameters, where another program has computed them already; by name.
    """

    parameters: Arrays
    statistics: Arrays
    batch: Arrays
    vectors: Arrays
    seed: jax.Array
    gradients: Arrays = dataclasses.field(default_factory=dict)

    def at(self, parameters: Arrays, inputs: Arrays) -> Arguments:
        """The same with other values of some parameters and inputs."""
        return dataclasses.replace(self, parameters=self.parameters | parameters, batch=self.batch | inputs)


@dataclasses.dataclass(frozen=True)
class Computation:
    """One request, checked against the forms of what was sent.

    Attributes:
        network: the network.
        loss: the loss; None for a forward pass without one.
        signature: of the network, for these shapes.
        dtype: floating-point type of weights, loss and gradients; that in between may have 16 bits.
        spec: what was asked.
        weights: forms of all weights, statistics included: first the network's own, then those that were sent.
        selected: parameters to differentiate, in forward order.
        padding: of a padded batch, where its examples lie.
    """

    network: Network
    loss: Loss | None
    signature: Signature
    dtype: Any
    spec: ProgramSpec
    weights: tuple[ArraySpec, ...]
    selected: tuple[str, ...]
    padding: Padding | None = None

    def arguments(
        self,
        weights: Mapping[str, jax.Array],
        batch: Arrays,
        vectors: Arrays,
        *,
        seed: jax.Array,
        gradients: Arrays | None = None,
    ) -> Arguments:
        """The arrays of a request, sorted by what they are."""
        return Arguments(
            parameters={name: weights[name].astype(self.dtype) for name in self.signature.parameters},
            statistics={name: weights[name] for name in self.signature.statistics},
            batch=batch,
            vectors=vectors,
            seed=seed,
            gradients=gradients or {},
        )

    def point(self, arguments: Arguments) -> tuple[Arrays, Arrays]:
        """The parameters and the inputs to differentiate with respect to."""
        return (
            {name: arguments.parameters[name] for name in self.selected},
            {name: arguments.batch[name].astype(self.dtype) for name in self.spec.selection.inputs},
        )

    def evaluate(self, arguments: Arguments, tape: Tape | None = None) -> Evaluation:
        """Forward: outputs and, if there is one, the loss; its backward pass keeps what the options say.

        Named values are shown to `tape`, which keeps all of them.
        """
        if tape is not None:
            return self._evaluate(arguments, tape)
        return checkpointed(self._evaluate, self.spec.options.checkpointing)(arguments)

    def unreduced(self, arguments: Arguments) -> list[Unreduced]:
        """Forward, up to the values of the loss; examples of weight 0 are taken as they are."""
        _, values = self.forward(arguments, self._context(arguments, None))
        return values

    def forward(self, arguments: Arguments, context: Context) -> tuple[Arrays, list[Unreduced]]:
        """Outputs, and the values of the loss if there is one; what else there is is left in `context`."""
        inputs = {one.name: arguments.batch[one.name] for one in self.network.inputs}
        outputs = self.network.apply(arguments.parameters, arguments.statistics, inputs, context)
        if context.dtype != self.dtype:
            outputs = {name: widened(value) for name, value in outputs.items()}
        return outputs, self._values_of_loss(outputs, arguments, context)

    def loss_of(self, outputs: Arrays, arguments: Arguments) -> LossValue:
        """The loss of these outputs, however they came about."""
        assert self.loss is not None
        values = self._values_of_loss(outputs, self.with_present_rows(arguments), self.new_context(arguments))
        return self.loss.combine(values, arguments.vectors)

    def with_present_rows(self, arguments: Arguments) -> Arguments:
        """The same with examples that count in place of those that do not, which could make gradients of 0 NaN."""
        present = self._present(arguments.batch)
        if present is None:
            return arguments
        keep = {*self.spec.shared, *self._weights_names, PRESENT}
        batch = without_absent_rows(arguments.batch, present, keep, keep_finite=self._shows_rows)
        return dataclasses.replace(arguments, batch=batch)

    def new_context(self, arguments: Arguments) -> Context:
        """That of an application in which all examples count."""
        return self._context(arguments, None)

    def _evaluate(self, arguments: Arguments, tape: Tape | None = None) -> Evaluation:
        context = self._context(arguments, self._present(arguments.batch), tape)
        outputs, values = self.forward(self.with_present_rows(arguments), context)
        return Evaluation(
            outputs=outputs,
            loss=None if self.loss is None else self.loss.combine(values, arguments.vectors),
            updated_statistics=context.updated_statistics,
            failed=[check.failed for check in context.checks],
            problems=tuple(check.problem for check in context.checks),
        )

    def _values_of_loss(self, outputs: Arrays, arguments: Arguments, context: Context) -> list[Unreduced]:
        """What the loss, if there is one, comes to before it is reduced; in at least 32 bits."""
        if self.loss is None:
            return []
        tensors = Tensors(outputs, arguments.batch, arguments.parameters, arguments.vectors)
        values = self.loss.unreduced(tensors, dataclasses.replace(context, dtype=self.dtype))
        return values if self.padding is None else self.padding.without_added(values, arguments.batch)

    def _present(self, batch: Arrays) -> jax.Array | None:
        """For each example, whether it counts; None where all do: there are no weights, or a term has none."""
        terms = self.loss.weights_of_terms if self.loss is not None else ()
        if any(not set(names).difference(self.spec.shared) for names in terms):
            return None
        return present_rows(batch, [name for name in self._weights_names if name in batch])

    def _context(self, arguments: Arguments, present: jax.Array | None, tape: Tape | None = None) -> Context:
        return Context(
            dtype=DTYPES.get(self.spec.options.precision, self.dtype),
            training=self.spec.options.mode is Mode.TRAINING,
            key=jax.random.key(arguments.seed),
            example_weights=None if present is None else present.astype(self.dtype),
            tape=tape,
        )

    @property
    def _weights_names(self) -> tuple[str, ...]:
        """Tensors of the batch that are weights of its examples."""
        names = self.loss.weights_names if self.loss is not None else ()
        return tuple(name for name in names if name not in self.spec.shared)

    @property
    def _shows_rows(self) -> bool:
        """Whether the answer shows outputs, so that rows of weight 0 must stay what they are where they can."""
        return self.spec.kind == "forward" or bool(self.spec.outputs)


@dataclasses.dataclass
class Results:
    """What a computation gives.

    Attributes:
        arrays: by group and name, see `ResultSpec`.
        numbers: scalars by name.
        evaluation: for its checks.
        layout: of a trace, what its arrays are.
    """

    arrays: dict[str, Arrays]
    numbers: dict[str, jax.Array]
    evaluation: Evaluation
    layout: Layout | None = None

    def groups(self) -> dict[str, Arrays]:
        """All arrays by group and name; the numbers as one float64 vector."""
        groups = {group: dict(arrays) for group, arrays in self.arrays.items()}
        if self.numbers:
            vector = jnp.stack([jnp.asarray(value, jnp.float64).reshape(()) for value in self.numbers.values()])
            groups["numbers"] = {"numbers": vector}
        return groups


def loss_numbers(value: LossValue) -> dict[str, jax.Array]:
    """The numbers that a loss comes to, by name."""
    numbers = {"loss": value.loss, "weight_sum": value.weight_sum}
    return numbers | {f"term:{name}": term for name, term in value.terms.items()}

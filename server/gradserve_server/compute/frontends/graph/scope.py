"""Where a walk over a graph finds parameters and statistics: told by the operations, or given by the caller."""

from __future__ import annotations

import abc
import dataclasses
import zlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

from gradserve_server.common.errors import Problem, Reason, near
from gradserve_server.common.specs import Limits, describe
from gradserve_server.common.tracing import Term
from gradserve_server.compute.calculus import SAME
from gradserve_server.compute.frontends.graph.call import Call, Value, as_array
from gradserve_server.compute.frontends.graph.chain_rules import explain
from gradserve_server.compute.frontends.graph.entry import Entry
from gradserve_server.compute.initializers import Initializer
from gradserve_server.compute.network import Check, Context, ParameterSpec, StatisticSpec

if TYPE_CHECKING:
    from gradserve_server.compute.frontends.graph.definition import Node

# What flows back to the values of a repeated block that are stacked.
_OF_ITS_TURN = Term("{d} at its turn")


class Scope(abc.ABC):
    """What operations ask for that is not data.

    Attributes:
        context: of the application.
        limits: of the definition.
        parameters: by path, those that are known so far.
    """

    context: Context
    limits: Limits
    parameters: Mapping[str, Any]

    @abc.abstractmethod
    def parameter(self, node: Node, path: str, shape: tuple[int, ...], initializer: Initializer) -> jax.Array:
        """The parameter of this path."""

    @abc.abstractmethod
    def find_parameter(self, path: str) -> jax.Array | None:
        """The parameter of this path, if an earlier node has one."""

    @abc.abstractmethod
    def statistic(self, node: Node, path: str, shape: tuple[int, ...], initial: float) -> jax.Array:
        """The statistic of this path."""

    @abc.abstractmethod
    def update_statistic(self, path: str, value: jax.Array) -> None:
        """Sets the statistic of this path."""

    @abc.abstractmethod
    def mode_matters(self, path: str) -> None:
        """Notes that a node behaves differently in training."""

    @abc.abstractmethod
    def repeat(self, node: Node, carry: Entry, body: Callable[[Scope, Entry], dict[str, Entry]]) -> dict[str, Entry]:
        """Runs the body of a repeated block as often as it says: the last result, and further outputs stacked."""

    @abc.abstractmethod
    def aside(self) -> Scope:
        """A scope that finds what this one finds, and in which nothing that is left behind counts."""

    def show(self, node: Node, value: Value, inputs: tuple[str, ...], call: Call[Any] | None) -> tuple[Value, str]:
        """Lets a tape see a node's result: what to go on with, and the key by which the tape knows it.

        Args:
            node: the node.
            value: its result.
            inputs: keys of its inputs.
            call: what computed it; None where it is the result of a block.
        """
        return value, node.path

    def key(self, path: str) -> jax.Array:
        """A random key that belongs to `path`."""
        base = self.context.key
        if base is None:
            base = jax.random.key(0)
        return jax.random.fold_in(base, zlib.crc32(path.encode()))


class Declaring(Scope):
    """Asks the operations which parameters they need; their values are of the right form only."""

    def __init__(self, context: Context, limits: Limits) -> None:
        self.context = context
        self.limits = limits
        self.parameters: dict[str, ParameterSpec] = {}
        self.statistics: dict[str, StatisticSpec] = {}
        self.mode_path = ""

    def parameter(self, node: Node, path: str, shape: tuple[int, ...], initializer: Initializer) -> jax.Array:
        known = self.parameters.get(path)
        if known is None:
            if node.shares:
                raise self._not_shared(node, path)
            self._check_shape(node, path, shape)
            self.parameters[path] = ParameterSpec(path, shape, initializer)
        elif known.shape != shape:
            raise Problem(
                Reason.INVALID_NODE,
                f"it shares the parameter '{path}', but needs another shape",
                field=node.field,
                node=node.path,
                given=describe("", known.shape),
                expected=describe("", shape),
            )
        return jnp.zeros(shape, self.context.dtype)

    def find_parameter(self, path: str) -> jax.Array | None:
        known = self.parameters.get(path)
        return None if known is None else jnp.zeros(known.shape, self.context.dtype)

    def statistic(self, node: Node, path: str, shape: tuple[int, ...], initial: float) -> jax.Array:
        if path not in self.statistics:
            if node.shares:
                raise self._not_shared(node, path)
            self._check_shape(node, path, shape)
            self.statistics[path] = StatisticSpec(path, shape, initial)
        return jnp.zeros(shape, self.context.dtype)

    def update_statistic(self, path: str, value: jax.Array) -> None:
        pass

    def mode_matters(self, path: str) -> None:
        self.mode_path = self.mode_path or path

    def aside(self) -> Declaring:
        other = Declaring(_fresh(self.context), self.limits)
        other.parameters, other.statistics = dict(self.parameters), dict(self.statistics)
        return other

    def repeat(
        self,
        node: Node,
        carry: Entry,
        body: Callable[[Scope, Entry], dict[str, Entry]],
    ) -> dict[str, Entry]:
        block = node.attributes
        turns = 1 if block.share_parameters else block.repeat
        inner = Declaring(dataclasses.replace(self.context, checks=[]), self.limits)
        if node.shares:
            # The owner's parameters are known here with their turns; inside, one turn of them is.
            inner.parameters = {
                path: dataclasses.replace(spec, shape=spec.shape if block.share_parameters else spec.shape[1:])
                for path, spec in self.parameters.items()
                if path.startswith(f"{node.owner}/")
            }
            inner.statistics = {
                path: dataclasses.replace(spec, shape=spec.shape if block.share_parameters else spec.shape[1:])
                for path, spec in self.statistics.items()
                if path.startswith(f"{node.owner}/")
            }
        before = as_array(carry.value, self.context.dtype)
        entries = body(inner, Entry(before, False, carry.key))
        outputs = {name: as_array(entry.value, self.context.dtype) for name, entry in entries.items()}
        first = next(iter(outputs))
        after = outputs[first]
        if (after.shape, after.dtype) != (before.shape, before.dtype):
            raise Problem(
                Reason.INVALID_NODE,
                "a repeated block must return what it takes, so that the result can be fed to it again",
                field=node.field,
                node=node.path,
                given=f"{describe(after.dtype, after.shape)} returned",
                expected=f"{describe(before.dtype, before.shape)} as taken",
            )
        if inner.mode_path:
            self.mode_matters(inner.mode_path)
        if not node.shares:
            for spec in inner.parameters.values():
                shape = spec.shape if block.share_parameters else (turns, *spec.shape)
                stacked = spec.stacked if block.share_parameters else spec.stacked + 1
                self._check_shape(node, spec.name, shape)
                self.parameters[spec.name] = dataclasses.replace(spec, shape=shape, stacked=stacked)
            for statistic in inner.statistics.values():
                shape = statistic.shape if block.share_parameters else (turns, *statistic.shape)
                self.statistics[statistic.name] = dataclasses.replace(statistic, shape=shape)
        stacks = {
            name: jnp.zeros((block.repeat, *value.shape), value.dtype)
            for name, value in outputs.items()
            if name != first
        }
        return {name: Entry(value, False, f"{node.path}@{name}") for name, value in {first: after, **stacks}.items()}

    def _check_shape(self, node: Node, path: str, shape: tuple[int, ...]) -> None:
        elements = 1
        for size in shape:
            if not isinstance(size, int):
                raise Problem(
                    Reason.INVALID_NODE,
                    f"the size of its parameter '{path}' would depend on the batch",
                    field=node.field,
                    node=node.path,
                    given=describe("", shape),
                    expected="sizes that the network fixes",
                    hint="Declare that axis of the input with a size instead of a name.",
                )
            elements *= size
        if elements > self.limits.elements:
            raise Problem(
                Reason.TOO_LARGE,
                f"its parameter '{path}' is too large",
                field=node.field,
                node=node.path,
                given=f"{elements} elements",
                expected=f"at most {self.limits.elements}",
            )

    def _not_shared(self, node: Node, path: str) -> Problem:
        own = [name for name in self.parameters if name.startswith(f"{node.owner}/") or name == node.owner]
        return Problem(
            Reason.INVALID_NODE,
            f"it shares the parameters of '{node.owner}', which has no '{path}'",
            field=node.field,
            node=node.path,
            expected=path,
            hint=near(path, own),
        )


class Applying(Scope):
    """Hands out the values that the caller gave."""

    def __init__(
        self,
        context: Context,
        limits: Limits,
        parameters: Mapping[str, jax.Array],
        statistics: Mapping[str, jax.Array],
        prefix: str = "",
    ) -> None:
        self.context = context
        self.limits = limits
        self.parameters: Mapping[str, jax.Array] = parameters
        self.statistics = dict(statistics)
        self.updated: set[str] = set()
        self._prefix = prefix

    def parameter(self, node: Node, path: str, shape: tuple[int, ...], initializer: Initializer) -> jax.Array:
        if self.context.tape is not None:
            self.context.tape.parameter(path)
        return self.parameters[path]

    def find_parameter(self, path: str) -> jax.Array | None:
        if path in self.parameters and self.context.tape is not None:
            self.context.tape.parameter(path)
        return self.parameters.get(path)

    def statistic(self, node: Node, path: str, shape: tuple[int, ...], initial: float) -> jax.Array:
        return self.statistics[path]

    def update_statistic(self, path: str, value: jax.Array) -> None:
        self.statistics[path] = value.astype(self.statistics[path].dtype)
        self.updated.add(path)

    def mode_matters(self, path: str) -> None:
        pass

    def aside(self) -> Applying:
        return Applying(_fresh(self.context), self.limits, self.parameters, self.statistics)

    def show(self, node: Node, value: Value, inputs: tuple[str, ...], call: Call[Any] | None) -> tuple[Value, str]:
        tape = self.context.tape
        if tape is None:
            return value, node.path
        if node.operation == "parameter":
            return value, node.owner
        key = self._prefix + node.path
        if isinstance(value, float):
            tape.number(key, node.operation, value, self.context.dtype)
            return value, key
        if call is None:
            return tape.value(key, node.operation, inputs, value, (SAME,)), key
        found, terms = explain(call, value)
        inputs = (*inputs, *(used for used, _ in call.used))
        return tape.value(key, found.title, inputs, value, terms, time_axis=found.time_axis), key

    def repeat(self, node: Node, carry: Entry, body: Callable[[Scope, Entry], dict[str, Entry]]) -> dict[str, Entry]:
        block = node.attributes
        shared = block.share_parameters
        inside = f"{node.owner}/"
        parameters = {path: value for path, value in self.parameters.items() if path.startswith(inside)}
        statistics = {path: value for path, value in self.statistics.items() if path.startswith(inside)}
        base, tape, key = self.context.key, self.context.tape, self._prefix + node.path
        shown = None if tape is None else tape.repeat(key, block.repeat, start=carry.key, stacks=not shared)
        problems: list[Problem] = []
        updated: set[str] = set()
        keys: dict[str, str] = {}

        def turn(
            state: tuple[jax.Array, dict[str, jax.Array]],
            layer: tuple[jax.Array, dict[str, jax.Array], dict[str, jax.Array], dict[str, jax.Array]],
        ) -> tuple[tuple[jax.Array, dict[str, jax.Array]], tuple[dict[str, jax.Array], ...]]:
            value, running = state
            number, own_parameters, own_statistics, zeros = layer
            context = dataclasses.replace(
                self.context,
                key=None if base is None else jax.random.fold_in(base, number),
                tape=None if shown is None else shown.turn(zeros),
                checks=[],
                updated_statistics={},
            )
            inner = Applying(
                context,
                self.limits,
                parameters if shared else own_parameters,
                running if shared else own_statistics,
                self._prefix,
            )
            entries = body(inner, Entry(value, False, shown.carry if shown else ""))
            keys.update({name: entry.key for name, entry in entries.items()})
            outputs = {name: as_array(entry.value, context.dtype) for name, entry in entries.items()}
            result = outputs.pop(next(iter(outputs)))
            updated.update(inner.updated)
            problems[:] = [check.problem for check in context.checks]
            failed = {str(index): check.failed for index, check in enumerate(context.checks)}
            left = {} if shared else inner.statistics
            values = context.tape.values if context.tape else {}
            return (result, inner.statistics if shared else {}), (outputs, left, failed, values)

        layers = (
            jnp.arange(block.repeat, dtype=jnp.int32),
            {} if shared else parameters,
            {} if shared else statistics,
            shown.zeros if shown else {},
        )
        initial = (as_array(carry.value, self.context.dtype), statistics if shared else {})
        (result, running), (stacks, left, failed, values) = jax.lax.scan(turn, initial, layers)
        self.statistics.update(running if shared else left)
        self.updated |= updated
        for index, problem in enumerate(problems):
            self.context.checks.append(Check(jnp.any(failed[str(index)]), problem))
        first = next(iter(keys))
        entries = {first: Entry(result, False, keys[first])}
        for name, stack in stacks.items():
            entries[name] = Entry(stack, False, f"{key}@{name}")
        if shown is not None and tape is not None:
            shown.end(values, keys[first])
            for name, stack in stacks.items():
                shown_stack = tape.value(f"{key}@{name}", "block", (keys[name],), stack, (_OF_ITS_TURN,))
                entries[name] = Entry(shown_stack, False, f"{key}@{name}")
        return entries


def _fresh(context: Context) -> Context:
    """`context` with nothing left behind in it, and nobody who looks."""
    return dataclasses.replace(context, tape=None, checks=[], updated_statistics={})

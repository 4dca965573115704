"""Loops whose backward pass keeps the inputs of their turns, or of groups of turns, and nothing else."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
from jax.extend import core

from gradserve_server.common.specs import Checkpointing
from gradserve_server.compute.jaxprs import Equation, Values, has_loop

# (carry, inputs of one turn) to (carry, outputs of one turn), all of them lists.
Turn: TypeAlias = Callable[[list[Any], list[Any]], tuple[list[Any], list[Any]]]

# A second time of computing again must save this part of the memory at least.
_WORTH_TWICE = 1 / 3
# Part of what a single turn makes that is there at one time: nothing of it is stacked, and XLA uses its memory again.
_AT_ONE_TIME = 0.5


def run_loop(
    equation: Equation,
    values: Values,
    choice: Checkpointing,
    run_turn: Callable[[core.ClosedJaxpr, list[Any], Checkpointing], list[Any]],
) -> None:
    """Runs the loop `equation` on `values` and leaves its results there; `run_turn` runs its body for a choice."""
    parameters = equation.params
    closed: core.ClosedJaxpr = parameters["jaxpr"]
    constants, carries = parameters["num_consts"], parameters["num_carry"]
    operands = values.read(equation.invars)
    fixed, carry, stacks = (
        operands[:constants],
        operands[constants : constants + carries],
        operands[constants + carries :],
    )

    def plain(carry: list[Any], layer: list[Any]) -> tuple[list[Any], list[Any]]:
        results = core.jaxpr_as_fun(closed)(*fixed, *carry, *layer)
        return list(results[:carries]), list(results[carries:])

    def lean(carry: list[Any], layer: list[Any]) -> tuple[list[Any], list[Any]]:
        inner = Checkpointing.BLOCKS if choice is Checkpointing.SQRT else choice
        results = run_turn(closed, [*fixed, *carry, *layer], inner)
        return results[:carries], results[carries:]

    loop = _Loop(parameters["length"], parameters["reverse"], parameters["unroll"])
    values.write(equation.outvars, _run(loop, choice, lean, lean if has_loop(closed.jaxpr) else plain, carry, stacks))


def _run(loop: _Loop, choice: Checkpointing, lean: Turn, whole: Turn, carry: list[Any], stacks: list[Any]) -> list[Any]:
    """Results of the loop; of one turn `lean` keeps the input and `whole` keeps what its backward pass needs."""
    if choice is Checkpointing.SQRT:
        grouping = group(loop.length, *_turn_bytes(whole, carry, stacks))
        if grouping.turns > 1:
            return loop.run_grouped(lean if grouping.twice else whole, carry, stacks, grouping.turns)
        if whole is not lean:
            return loop.run(lean, carry, stacks)
        return loop.run(jax.checkpoint(whole, prevent_cse=False), carry, stacks)
    return loop.run(lean, carry, stacks)


@dataclasses.dataclass(frozen=True)
class Grouping:
    """How many turns are computed again together, and whether each of them is then computed once more."""

    turns: int
    twice: bool


def group(length: int, carry: int, more: int) -> Grouping:
    """The grouping of a loop with the fewest bytes for its backward pass.

    Of `length` turns in groups of b, length / b carries are kept, and all that b turns make while a group is computed
    again; or, if each turn of it is then computed once more, b carries and what one turn makes.

    Args:
        length: turns.
        carry: bytes that one turn hands to the next.
        more: bytes that one turn makes beside that for its backward pass.
    """
    divisors = [turns for turns in range(1, length + 1) if length % turns == 0]
    # The divisors of a length such as 97 leave no choice: a rest that is a group of its own costs little.
    candidates = divisors if len(divisors) > 3 else range(1, length + 1)
    groups = {turns: math.ceil(length / turns) for turns in candidates}
    alone = _AT_ONE_TIME * (carry + more)
    once = {turns: groups[turns] * carry + (alone if turns == 1 else turns * (carry + more)) for turns in candidates}
    again = {turns: (groups[turns] + turns) * carry + alone for turns in candidates}
    best_once, best_again = min(once, key=lambda turns: once[turns]), min(again, key=lambda turns: again[turns])
    if again[best_again] < (1 - _WORTH_TWICE) * once[best_once]:
        return Grouping(best_again, twice=True)
    return Grouping(best_once, twice=False)


@dataclasses.dataclass(frozen=True)
class _Loop:
    length: int
    reverse: bool
    unroll: int

    def run(self, turn: Turn, carry: list[Any], stacks: list[Any]) -> list[Any]:
        carry, outputs = jax.lax.scan(turn, carry, stacks, self.length, reverse=self.reverse, unroll=self.unroll)
        return [*carry, *outputs]

    def run_grouped(self, turn: Turn, carry: list[Any], stacks: list[Any], turns: int) -> list[Any]:
        """As `run`; only the carry before each group of turns is kept, the rest is computed again."""
        groups = self.length // turns
        rest = self.length - groups * turns
        # In order of their run the rest comes last; a reversed loop begins at the end of its stacks.
        first, last = (rest, 0) if self.reverse else (0, groups * turns)

        def whole(carry: list[Any], layers: list[Any]) -> tuple[list[Any], list[Any]]:
            one = dataclasses.replace(self, length=jax.tree.leaves(layers)[0].shape[0] if layers else turns)
            results = one.run(turn, carry, layers)
            return results[: len(carry)], results[len(carry) :]

        main = [stack[first : first + groups * turns].reshape(groups, turns, *stack.shape[1:]) for stack in stacks]
        outer = _Loop(groups, self.reverse, 1)
        results = outer.run(jax.checkpoint(whole, prevent_cse=False), carry, main)
        carry, outputs = results[: len(carry)], results[len(carry) :]
        outputs = [output.reshape(groups * turns, *output.shape[2:]) for output in outputs]
        if rest:
            remaining = [stack[last : last + rest] for stack in stacks]
            carry, more = jax.checkpoint(whole)(carry, remaining)
            pairs = zip(outputs, more, strict=True)
            outputs = [jnp.concatenate([two, one] if self.reverse else [one, two]) for one, two in pairs]
        return [*carry, *outputs]


def _turn_bytes(turn: Turn, carry: list[Any], stacks: list[Any]) -> tuple[int, int]:
    """Bytes of the carry, and of what the backward pass of one turn needs beside it and what is there anyway."""

    def kept(carry: list[Any], layer: list[Any]) -> list[Any]:
        given = {id(one) for one in (*carry, *layer)}
        _, backward = jax.vjp(turn, carry, layer)
        return [one for one in jax.tree.leaves(backward) if id(one) not in given]

    layer = [jax.ShapeDtypeStruct(one.shape[1:], one.dtype) for one in stacks]
    found = jax.eval_shape(kept, [jax.ShapeDtypeStruct(one.shape, one.dtype) for one in carry], layer)
    return _total(carry), _total(found)


def _total(arrays: list[Any]) -> int:
    return sum(math.prod(one.shape) * getattr(one.dtype, "itemsize", 0) for one in arrays)

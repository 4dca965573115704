"""A hook through which a network shows its named values as it is applied, whatever its format.

A front-end gives every named value to `Context.tape` and goes on with what it gets back: the same value, with which the
tape can be differentiated. One backward pass then gives the gradients at all values. Repeated blocks are shown once:
their values come out of the scan stacked along the turns, and what gradients are taken of goes in the same way.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, final

import jax
import jax.numpy as jnp

from gradserve_server.common.tracing import Term

Arrays = Mapping[str, jax.Array]


@dataclasses.dataclass(frozen=True)
class Step:
    """A named value, as a front-end shows it.

    Attributes:
        key: its name in the definition: in a repeated block, that of all turns.
        operation: what computed it.
        inputs: keys of what it was computed from; `Repetition.carry` for what a repeated block is fed.
        terms: for each input, what this use adds to its gradient; none where nothing is known of the operation.
        within: the repeated blocks around it, the outermost first.
        form: type and shape of one turn.
        fixed: whether it is a number of the definition, of which no gradient is taken.
        time_axis: axis along which the first input is read step by step, from first to last; -1 where it is not.
    """

    key: str
    operation: str
    inputs: tuple[str, ...]
    terms: tuple[Term, ...]
    within: tuple[str, ...]
    form: jax.ShapeDtypeStruct
    fixed: bool = False
    time_axis: int = -1

    @property
    def has_gradient(self) -> bool:
        """Whether gradients of it can be taken."""
        return not self.fixed and bool(jnp.issubdtype(self.form.dtype, jnp.floating))


@dataclasses.dataclass(frozen=True)
class Repeat:
    """A repeated block, as a front-end shows it.

    Attributes:
        key: its name.
        turns: how often it runs.
        start: key of what the first turn is fed.
        result: key of the value inside that the next turn is fed.
        stacks: whether each turn has parameters of its own.
    """

    key: str
    turns: int
    start: str
    result: str
    stacks: bool


@dataclasses.dataclass
class Record:
    """What was shown beside numbers, in forward order.

    Attributes:
        steps: by key; parameters are steps where they are first used.
        repeats: by key.
    """

    steps: dict[str, Step] = dataclasses.field(default_factory=dict)
    repeats: dict[str, Repeat] = dataclasses.field(default_factory=dict)

    def of_batch(self, name: str) -> str:
        """The key of a tensor of the batch: a node may have the name of one that only the loss takes."""
        return f"{TARGET}:{name}" if name in self.steps else name


PARAMETER = "parameter"
TARGET = "target"
# Not a value of its own: it is what all others are differentiated for.
LOSS = "loss"


@final
class Tape:
    """Records values, and lets gradients with respect to them be taken.

    Args:
        record: where all but numbers is left; the same for all turns.
        zeros: by key, what stands for a change of each floating-point value; None to find out their forms.
        changes: whether `zeros` are really added, and not only differentiated with respect to.
        within: the repeated blocks around.

    Attributes:
        values: what was shown, by key.
        loss_term: name of the term of the loss that is being computed, where there are several.
        loss_counts: whether that term counts.
    """

    def __init__(
        self, record: Record, zeros: Arrays | None = None, *, changes: bool = False, within: tuple[str, ...] = ()
    ) -> None:
        self.record = record
        self.values: dict[str, jax.Array] = {}
        self.loss_term = ""
        self.loss_counts = True
        self._zeros = zeros
        self._changes = changes
        self._within = within

    def parameter(self, key: str) -> None:
        """Notes the use of a parameter, before the value that is computed from it is shown."""
        form = jax.ShapeDtypeStruct((), jnp.float32)
        self.record.steps.setdefault(key, Step(key, PARAMETER, (), (), self._within, form))

    def value(
        self,
        key: str,
        operation: str,
        inputs: Sequence[str],
        value: jax.Array,
        terms: Sequence[Term] = (),
        *,
        time_axis: int = -1,
    ) -> jax.Array:
        """Shows a value; what follows is to be computed from what comes back."""
        form = jax.ShapeDtypeStruct(value.shape, value.dtype)
        self.record.steps[key] = Step(
            key, operation, tuple(inputs), tuple(terms), self._within, form, time_axis=time_axis
        )
        if self._zeros is not None and key in self._zeros:
            zero = self._zeros[key]
            value = value + zero if self._changes else _with_cotangent(value, zero)
        self.values[key] = value
        return value

    def number(self, key: str, operation: str, value: float, dtype: Any) -> None:
        """Shows a number of the definition, which takes the type of what it is combined with."""
        self.values[key] = jnp.asarray(value, dtype)
        form = jax.ShapeDtypeStruct((), dtype)
        self.record.steps[key] = Step(key, operation, (), (), self._within, form, fixed=True)

    def of_batch(self, name: str) -> str:
        """The key of a tensor of the batch that the loss takes."""
        return self.record.of_batch(name)

    def loss(self, inputs: Sequence[str], terms: Sequence[Term]) -> None:
        """Shows what the loss, or the term of it that `loss_term` names, is computed from."""
        key = f"({LOSS}:{self.loss_term})" if self.loss_term else f"({LOSS})"
        if self.loss_term:
            terms = [_weighted(term, self.loss_term, counts=self.loss_counts) for term in terms]
        form = jax.ShapeDtypeStruct((), jnp.float64)
        self.record.steps[key] = Step(key, LOSS, tuple(inputs), tuple(terms), self._within, form, fixed=True)

    def repeat(self, key: str, turns: int, *, start: str, stacks: bool) -> Repetition:
        """Begins a repeated block, whose first turn is fed the value `start`."""
        return Repetition(self, key, turns, start, stacks)

    def zeros_within(self, key: str) -> dict[str, jax.Array]:
        """Those of the values inside of a repeated block."""
        place = len(self._within)
        steps = self.record.steps
        return {
            name: zero for name, zero in (self._zeros or {}).items() if steps[name].within[place : place + 1] == (key,)
        }

    def turn(self, key: str, zeros: Arrays) -> Tape:
        """The tape of one turn of a repeated block."""
        given = None if self._zeros is None else zeros
        return Tape(self.record, given, changes=self._changes, within=(*self._within, key))


@final
class Repetition:
    """A repeated block that is being shown.

    Attributes:
        carry: by this key the values inside refer to what their turn is fed.
        zeros: to scan over; `turn` takes what comes of them.
    """

    def __init__(self, tape: Tape, key: str, turns: int, start: str, stacks: bool) -> None:
        self.carry = f"{key}@"
        self.zeros = tape.zeros_within(key)
        self._tape = tape
        self._repeat = Repeat(key, turns, start, "", stacks)

    def turn(self, zeros: Arrays) -> Tape:
        """The tape of one turn; its `values` are to be stacked by the scan."""
        return self._tape.turn(self._repeat.key, zeros)

    def end(self, values: Arrays, result: str) -> None:
        """Takes the stacked values, and the key of the value inside that the next turn is fed."""
        self._tape.values.update(values)
        self._tape.record.repeats[self._repeat.key] = dataclasses.replace(self._repeat, result=result)


@jax.custom_jvp
def _with_cotangent(value: jax.Array, _zero: jax.Array) -> jax.Array:
    """`value + _zero` for derivatives, and `value` as it is: so that programs compute the very numbers they would."""
    return value


@_with_cotangent.defjvp
def _with_cotangent_jvp(primals: Any, tangents: Any) -> Any:
    return primals[0], tangents[0] + tangents[1]


def _weighted(term: Term, name: str, *, counts: bool) -> Term:
    """What a loss that is one of several adds, times its weight."""
    return Term(f"[weight of {name}] * {term.text}" if counts and term.text else "", where=term.where)

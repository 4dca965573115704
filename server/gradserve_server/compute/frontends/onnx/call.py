"""One application of an operator, as the functions in `operators` see it."""

from __future__ import annotations

import dataclasses
import math
import zlib
from typing import TYPE_CHECKING, Any, NoReturn

import jax
import jax.numpy as jnp
import numpy as np

from gradserve_server.common.errors import Problem, Reason
from gradserve_server.common.specs import describe
from gradserve_server.compute.frontends.onnx.definition import Node
from gradserve_server.compute.frontends.onnx.table import Value
from gradserve_server.compute.network import Check

if TYPE_CHECKING:
    from gradserve_server.compute.frontends.onnx.frame import Frame

_REQUIRED = object()


class StaticNeeded(Exception):
    """A value must be known at tracing, and is not.

    Attributes:
        node: which takes it.
        index: position of the input.
    """

    def __init__(self, node: Node, index: int) -> None:
        self.node = node
        self.index = index
        super().__init__(f"{node.name}: input {index}")


def is_static(value: Value) -> bool:
    """Whether `value` is known at tracing."""
    return isinstance(value, np.ndarray)


def to_jax(value: Value) -> jax.Array:
    """`value` as a JAX array."""
    if isinstance(value, np.ndarray) and value.dtype == object:
        sizes = [jnp.asarray(one).astype(jnp.int64) for one in value.reshape(-1)]
        return jnp.stack(sizes).reshape(value.shape) if sizes else jnp.zeros(value.shape, jnp.int64)
    return jnp.asarray(value)


def form(value: Value) -> str:
    """What `value` looks like, for errors."""
    if value is None:
        return "nothing"
    if isinstance(value, tuple):
        return f"a sequence of {len(value)}"
    return describe("int64" if value.dtype == object else value.dtype, tuple(value.shape))


@dataclasses.dataclass(frozen=True)
class Call:
    """What an operator gets.

    Attributes:
        node: the node.
        version: of the operator: the opset that its form came with.
        attributes: by name, with those of the enclosing function filled in.
        inputs: one for each; None where an optional one is left out.
        frame: the evaluation that this is part of.
        xp: ``numpy`` if all inputs are known at tracing and the operator folds, else ``jax.numpy``.
    """

    node: Node
    version: int
    attributes: Any
    inputs: tuple[Value, ...]
    frame: Frame
    xp: Any

    # Inputs.

    def has(self, index: int) -> bool:
        """Whether the input is given."""
        return index < len(self.inputs) and self.inputs[index] is not None

    def input(self, index: int) -> Value:
        """The input at `index`, which must be given: a tensor, of the kind that `xp` computes with."""
        if not self.has(index):
            raise self.refuse(f"input {index} is missing")
        value = self.inputs[index]
        if isinstance(value, tuple):
            raise self.refuse(f"input {index} is a sequence, not a tensor")
        return value if self.xp is np else to_jax(value)

    def optional(self, index: int) -> Value | None:
        """The input at `index`, or None."""
        return self.input(index) if self.has(index) else None

    def all_inputs(self) -> list[Value]:
        """All inputs, which must be given."""
        return [self.input(index) for index in range(len(self.inputs))]

    def static(self, index: int) -> np.ndarray[Any, Any]:
        """The value of an input that must be known at tracing."""
        if not self.has(index):
            raise self.refuse(f"input {index} is missing")
        value = self.inputs[index]
        if not isinstance(value, np.ndarray):
            raise StaticNeeded(self.node, index)
        return value

    def sizes(self, index: int) -> tuple[Any, ...]:
        """The elements of an input that must be known at tracing, as integers (or symbols where sizes are)."""
        return tuple(integer(one) for one in self.static(index).reshape(-1))

    def sizes_or(self, index: int, attribute: str) -> tuple[Any, ...] | None:
        """Integers that are an attribute in older versions, an optional input in newer ones."""
        if self.has(index):
            return self.sizes(index)
        found = self.attributes.get(attribute)
        return None if found is None else tuple(found)

    def number(self, index: int, default: Any) -> Any:
        """An optional input of one element, known at tracing."""
        if not self.has(index):
            return default
        value = self.static(index).reshape(-1)
        if value.size != 1:
            raise self.refuse(f"input {index} should have one element", given=form(value))
        return value[0] if value.dtype == object else value[0].item()

    # Attributes.

    def attribute(self, name: str, default: Any = _REQUIRED) -> Any:
        """The attribute `name`."""
        found = self.attributes.get(name, default)
        if found is _REQUIRED:
            raise self.refuse(f"attribute '{name}' is missing")
        return found

    def dtype(self, number: int) -> np.dtype[Any]:
        """NumPy's type of an element type of ONNX, in the precision of this evaluation."""
        return self.frame.dtype(number, node=self.node.name)

    def axis(self, axis: Any, rank: int) -> int:
        """`axis` counted from the front."""
        axis = integer(axis)
        if not -rank <= axis < max(rank, 1):
            raise self.refuse(f"there is no axis {axis}", given=f"{rank} axes")
        return axis % rank if rank else 0

    def axes(self, axes: Any, rank: int) -> tuple[int, ...]:
        """`axes` counted from the front; each at most once."""
        found = tuple(self.axis(one, rank) for one in axes)
        if len(set(found)) != len(found):
            raise self.refuse("an axis is named twice", given=str(tuple(axes)))
        return found

    # What is wrong.

    def refuse(self, message: str, *, given: str = "", expected: str = "") -> Problem:
        """A problem at this node."""
        if not given:
            given = ", ".join(form(value) for value in self.inputs)
        return Problem(
            Reason.INVALID_NODE,
            f"{self.node.operator}: {message}",
            field="network",
            node=self.node.name,
            given=given,
            expected=expected,
        )

    def unsupported(self, message: str, *, given: str = "") -> Problem:
        """Something of the standard that is not served."""
        return Problem(
            Reason.UNSUPPORTED_OPERATION,
            f"{self.node.operator}: {message}",
            field="network",
            node=self.node.name,
            given=given,
        )

    def need_static(self, index: int) -> NoReturn:
        """Says that an input must be known at tracing."""
        raise StaticNeeded(self.node, index)

    def check(self, failed: Value, message: str) -> None:
        """Makes a run whose data has `failed` end with a problem at this node."""
        problem = Problem(
            Reason.INDEX_OUT_OF_RANGE, f"{self.node.operator}: {message}", field="network", node=self.node.name
        )
        if isinstance(failed, (bool, np.ndarray, np.bool_)):
            if np.any(failed):
                raise problem
            return
        self.frame.context.checks.append(Check(jnp.any(failed), problem))

    def check_sizes(self, shape: tuple[Any, ...]) -> None:
        """Refuses a result of this shape if it is too large, before it is made."""
        self.frame.check_elements(shape, self.node)

    def key(self) -> jax.Array:
        """A random key of this node; the attribute ``seed``, if there is one, in place of the request's."""
        seed = self.attributes.get("seed")
        if seed is not None:
            base = jax.random.key(int(np.float32(seed).view(np.uint32)))
        else:
            base = self.frame.context.key if self.frame.context.key is not None else jax.random.key(0)
        return jax.random.fold_in(base, zlib.crc32(self.frame.path(self.node).encode()))


def integer(value: Any) -> Any:
    """An element of an array as a Python integer, symbols as they are."""
    if isinstance(value, np.integer):
        # Not by floats, which do not tell the largest ones apart.
        return int(value)
    if isinstance(value, (np.generic, float)):
        if value != math.floor(value):
            raise ValueError(f"{value} is no integer")
        return int(value)
    return value

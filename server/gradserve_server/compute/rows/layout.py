"""Where the examples of a batch lie in an array."""

from __future__ import annotations

import dataclasses
from typing import Any, TypeAlias


@dataclasses.dataclass(frozen=True)
class Rows:
    """An array of which each part belongs to one example alone.

    Its axis `axis` has ``outer * examples * inner`` elements, and element i depends on example
    ``(i // inner) % examples`` and no other: so [batch, ...] is ``Rows(0)``, and [batch * length, ...] ``Rows(0, 1,
    length)``.
    """

    axis: int
    outer: int = 1
    inner: int = 1

    def size(self, examples: int) -> int:
        """Elements of the axis with this many examples."""
        return self.outer * examples * self.inner

    def on(self, axis: int) -> Rows:
        """The same division of another axis."""
        return dataclasses.replace(self, axis=axis)


@dataclasses.dataclass(frozen=True)
class Mixing:
    """An array whose parts depend on several examples at once.

    Attributes:
        node: path of the node that mixed them; empty where that is no node's doing.
        operation: name of JAX's primitive that did.
    """

    node: str
    operation: str


# None is an array that depends on no example.
Form: TypeAlias = Rows | None
State: TypeAlias = Rows | Mixing | None


def join(a: State, b: State, place: Mixing) -> State:
    """What may be `a` or `b`; `place` is at fault where these do not go together."""
    if isinstance(a, Mixing) or b is None or a == b:
        return a
    if isinstance(b, Mixing) or a is None:
        return b
    return place


def node_of(equation: Any, outer: str) -> str:
    """Path of the node that an equation belongs to, `outer` being that of the equation around it."""
    if outer:
        return outer
    names = str(equation.source_info.name_stack).split("/")
    # JAX puts transformations and the equations of sums of products among them.
    return "/".join(name for name in names if "(" not in name and "->" not in name)

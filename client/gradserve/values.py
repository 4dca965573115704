"""Values of a graph that is being built."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias, final

from gradserve.layers import negate
from gradserve.tensors import Array

if TYPE_CHECKING:
    from gradserve.builder import GraphBuilder


@final
class Value:
    """What an input or a node of a `GraphBuilder` gives. Combines with + - * / ** @ and unary -.

    Attributes:
        name: its name in the graph.
    """

    __slots__ = ("_builder", "name")

    # Lets `array * value` come to `Value.__rmul__` rather than to NumPy.
    __array_ufunc__ = None

    def __init__(self, builder: GraphBuilder, name: str) -> None:
        self._builder = builder
        self.name = name

    @property
    def builder(self) -> GraphBuilder:
        """The builder that it belongs to."""
        return self._builder

    def __repr__(self) -> str:
        return f"Value({self.name!r})"

    def __add__(self, other: Operand) -> Value:
        return self._builder.arithmetic("add", self, other)

    def __radd__(self, other: Operand) -> Value:
        return self._builder.arithmetic("add", other, self)

    def __sub__(self, other: Operand) -> Value:
        return self._builder.arithmetic("subtract", self, other)

    def __rsub__(self, other: Operand) -> Value:
        return self._builder.arithmetic("subtract", other, self)

    def __mul__(self, other: Operand) -> Value:
        return self._builder.arithmetic("multiply", self, other)

    def __rmul__(self, other: Operand) -> Value:
        return self._builder.arithmetic("multiply", other, self)

    def __truediv__(self, other: Operand) -> Value:
        return self._builder.arithmetic("divide", self, other)

    def __rtruediv__(self, other: Operand) -> Value:
        return self._builder.arithmetic("divide", other, self)

    def __pow__(self, other: Operand) -> Value:
        return self._builder.arithmetic("power", self, other)

    def __rpow__(self, other: Operand) -> Value:
        return self._builder.arithmetic("power", other, self)

    def __matmul__(self, other: Operand) -> Value:
        return self._builder.arithmetic("matmul", self, other)

    def __rmatmul__(self, other: Operand) -> Value:
        return self._builder.arithmetic("matmul", other, self)

    def __neg__(self) -> Value:
        return self._builder.add(negate(), self)


Operand: TypeAlias = Value | float | int | Array
"""What arithmetic takes: a value of the graph, a number, or an array that becomes a constant."""

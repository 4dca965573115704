"""What a row of the table says."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gradserve.v1 import network_pb2
from tests.conformance.operations.oracles import Array

Sizes = tuple[int | str, ...]


@dataclasses.dataclass(frozen=True)
class Row:
    """One operation with one set of attributes.

    Attributes:
        name: of the test.
        operation: the operation.
        attributes: its message.
        shapes: of the inputs; a letter is a size that hypothesis draws.
        oracle: parameters and statistics by their last names, and inputs, to the output.
        kinds: of the numbers of each input: real, positive, boolean, or index:<n> for integers below n.
        least: the smallest size of any letter.
        training: whether the pass is in training mode.
        flat: whether the gradient is zero by definition and not by the numbers.
        before: nodes that the operation's node refers to.
        arguments: what it takes; the inputs, in order, if empty.
        updated: as `oracle`, to the statistics after the pass.
        examples: axis of the result along which those of the inputs' first axis lie; None where it is the same for
            all; text where they depend on each other, which is why.
        shared: inputs that hold no examples; so do others whose first axis is not that of the first that does.
    """

    name: str
    operation: str
    attributes: Any
    shapes: tuple[Sizes, ...]
    oracle: Callable[..., Array]
    kinds: tuple[str, ...] = ()
    least: int = 1
    training: bool = False
    flat: bool = False
    before: tuple[network_pb2.Node, ...] = ()
    arguments: tuple[str, ...] = ()
    updated: Callable[..., Mapping[str, Array]] = lambda w, *x: {}
    examples: int | str | None = 0
    shared: tuple[int, ...] = ()

    def node(self, inputs: Sequence[str] = ()) -> network_pb2.Node:
        """The node under test."""
        return network_pb2.Node(name="node", inputs=inputs, **{self.operation: self.attributes})

    def kind(self, index: int) -> str:
        return self.kinds[index] if self.kinds else "real"

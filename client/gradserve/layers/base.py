"""What a layer is."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import Any, final

from gradserve.errors import InvalidRequest
from gradserve.tensors import message_bytes
from gradserve.v1 import network_pb2


@final
@dataclass(frozen=True, slots=True)
class Layer:
    """One operation that has not been put in place yet.

    Attributes:
        kind: what it is called where it has no name: the first dense layer is ``dense_1``.
        content: a serialized `Node` with nothing set but the operation.
        name: its name in the graph; counted by kind if None.
        masked: whether its last input is a mask.
    """

    kind: str
    content: bytes
    name: str | None = None
    masked: bool = False

    @property
    def message(self) -> network_pb2.Node:
        """The contract's node without name and inputs, a copy."""
        return network_pb2.Node.FromString(self.content)

    def __repr__(self) -> str:
        name = f", name={self.name!r}" if self.name else ""
        return f"Layer({self.kind}{name})"


def layer(kind: str, name: str | None, *, masked: bool = False, **operation: Any) -> Layer:
    """A layer of the one operation that is given by the name of its field in `Node`."""
    return Layer(kind, message_bytes(network_pb2.Node(**operation)), name, masked)


def whole(number: object, field: str, least: int = 1) -> int:
    """`number` as an integer.

    Raises:
        InvalidRequest: it is none, or below `least`.
    """
    try:
        if isinstance(number, bool):
            raise TypeError
        value = operator.index(number)  # type: ignore[arg-type]
    except TypeError:
        value = least - 1
    if value < least or value >= 2**63:
        raise InvalidRequest.because(
            "no valid number",
            field=field,
            given=repr(number),
            expected=f"an integer of at least {least}",
        )
    return int(value)


def axis_of(number: object, field: str) -> int:
    """`number` as an axis, negative from the end.

    Raises:
        InvalidRequest: it is no integer.
    """
    return whole(number, field, -(2**63))

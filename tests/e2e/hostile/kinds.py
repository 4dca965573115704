"""What a kind of hostile network is."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from gradserve.v1 import network_pb2

BAD, NOT_SERVED, TOO_MUCH = "INVALID_ARGUMENT", "UNIMPLEMENTED", "RESOURCE_EXHAUSTED"


@dataclasses.dataclass(frozen=True)
class Kind:
    """One way to be hostile.

    Attributes:
        name: what is wrong with it, for people.
        network: makes it.
        reason: that it is refused with.
        words: part of what the refusal says to people.
        code: of the status.
        field: that the refusal names; what begins with it will do.
    """

    name: str
    network: Callable[[], network_pb2.NetworkDefinition]
    reason: str
    words: str
    code: str = BAD
    field: str = "network"

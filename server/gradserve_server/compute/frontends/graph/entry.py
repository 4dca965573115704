"""A value with a name, as the walk over a graph keeps it."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gradserve_server.compute.frontends.graph.call import Value


@dataclasses.dataclass(frozen=True)
class Entry:
    """A value with a name.

    Attributes:
        value: the value.
        direct: whether it came with the batch as it is.
        key: by which a tape knows it.
    """

    value: Value
    direct: bool
    key: str

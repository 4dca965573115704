"""What a request is read with beside its own bytes: attachments of its stream, and what its caller sent before.

Set for the time of reading, so that the functions between a call and its tensors need not know of it.
"""

from __future__ import annotations

import contextlib
import types
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, final

from gradserve.v1 import tensor_pb2
from gradserve_server.common.errors import Problem, Reason

if TYPE_CHECKING:
    from gradserve_server.front.artifacts.store import Artifact, Digest, Store
    from gradserve_server.front.tensors import Array


@final
class Reading:
    """One request that is being read.

    Attributes:
        attachments: the bytes of each attachment, by number.
        store: holds what was sent before; None where nothing is.
        identity: of the caller.
        artifacts: what the request takes from the store; it has to be held until the request has run.
        kept: the address of the weights that were taken in, if they were.
    """

    def __init__(
        self,
        attachments: Mapping[int, memoryview] = types.MappingProxyType({}),
        store: Store | None = None,
        identity: str = "",
    ) -> None:
        self.attachments = attachments
        self.store = store
        self.identity = identity
        self.artifacts: list[Artifact] = []
        self.kept: Digest | None = None

    def take(self, message: tensor_pb2.Digest, field: str) -> Artifact:
        """What the caller sent before.

        Raises:
            Problem: it is not held.
        """
        artifact = self._store(field).get(self.identity, message, field)
        self.artifacts.append(artifact)
        return artifact

    def keep(self, arrays: Mapping[str, Array]) -> None:
        """Takes weights into the store.

        Raises:
            Problem: there is no room.
        """
        self.kept = self._store("weights.keep").keep_arrays(self.identity, arrays)

    def _store(self, field: str) -> Store:
        if self.store is None:
            raise Problem(Reason.NOT_IMPLEMENTED_YET, "nothing is held by digest here", field=field)
        return self.store


_CURRENT: ContextVar[Reading | None] = ContextVar("reading", default=None)


@contextlib.contextmanager
def reading(with_: Reading) -> Iterator[Reading]:
    """Reads a request with this."""
    token = _CURRENT.set(with_)
    try:
        yield with_
    finally:
        _CURRENT.reset(token)


def current() -> Reading:
    """What the request at hand is read with."""
    return _CURRENT.get() or Reading()


def attached_bytes(message: tensor_pb2.Attachment, field: str) -> memoryview:
    """The bytes of an attachment of the request that is being read."""
    data = current().attachments.get(message.number)
    if data is None:
        raise Problem(
            Reason.INVALID_TENSOR,
            "there is no such attachment; they belong to streams",
            field=field,
            given=str(message.number),
        )
    return data

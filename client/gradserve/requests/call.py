"""One call as a value: what is sent, and what reads the answer."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, final

from google.protobuf.message import Message

from gradserve.errors import MissingContent
from gradserve.network import Network
from gradserve.tensors import Array

Answer = TypeVar("Answer")


@final
@dataclass(frozen=True, slots=True)
class Streamed(Generic[Answer]):
    """A call whose tensors follow it on a stream.

    Attributes:
        part: name of its request and of its answer in the messages of a stream.
        opening: the serialized request, its large tensors attached.
        attached: the large tensors; their attachments are numbered from 1.
        answer: class of the answer.
        read: makes the answer of that message and of the bytes of its attachments by number.
    """

    part: str
    opening: bytes
    attached: list[Array]
    answer: type[Message]
    read: Callable[[Any, Mapping[int, memoryview]], Answer]


@final
class Call(Generic[Answer]):
    """One call that is ready to be sent, any number of times.

    Args:
        method: name of the RPC.
        message: the serialized request, or what makes it.
        read: makes the answer of the serialized response.
        signature: equal for calls that the server computes with one compiled program; None for
            calls that compile nothing.
        with_content: makes the same call with the content of what it names by digest ``hash/size``, or None where the
            client does not have it; None where it names nothing.
        network: what the server holds after it.
        streamed: makes the same call for a stream; None where it is as well off without.
    """

    __slots__ = ("_message", "method", "network", "read", "signature", "streamed", "with_content")

    def __init__(
        self,
        method: str,
        message: bytes | Callable[[], bytes],
        read: Callable[[bytes], Answer],
        signature: Hashable = None,
        streamed: Callable[[], Streamed[Answer]] | None = None,
        *,
        with_content: Callable[[str], Call[Answer] | None] | None = None,
        network: Network | None = None,
    ) -> None:
        self.method = method
        self.read = read
        self.signature = signature
        self.streamed = streamed
        self.with_content = with_content
        self.network = network
        self._message = message

    @property
    def message(self) -> bytes:
        """The serialized request.

        Raises:
            LimitExceeded: it does not fit one message.
        """
        return self._message if isinstance(self._message, bytes) else self._message()


@final
@dataclass(frozen=True, slots=True)
class Form(Generic[Answer]):
    """How a kind of call is sent and its answer read.

    Attributes:
        method: name of the RPC.
        read: makes the answer of the serialized response.
        part: name of the request and of its answer in the messages of a stream; empty where it takes no stream.
        answer: class of the response.
        assemble: makes the answer of that message and of the bytes of its attachments by number.
    """

    method: str
    read: Callable[[bytes], Answer]
    part: str = ""
    answer: type[Message] = Message
    assemble: Callable[[Any, Mapping[int, memoryview]], Answer] | None = None


def with_content(call: Call[Answer], error: MissingContent) -> Call[Answer]:
    """The call with the content of what the server told it does not hold.

    Raises:
        MissingContent: the client does not have it.
    """
    more = None if call.with_content is None else call.with_content(error.metadata.get("missing", ""))
    if more is None:
        raise error
    return more

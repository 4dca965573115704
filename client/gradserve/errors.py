"""Everything that gradserve raises, by what the caller should do about it.

    GradserveError             (abstract: catch it to catch them all)
    |-- InvalidRequest         change the request; also a ValueError
    |-- Unsupported            ask for something else, or use a newer server
    |-- LimitExceeded          make the request smaller, or raise the server's limit
    |-- Overloaded             come back later: `retry_seconds` says when
    |-- MissingContent         send the network or the weights again
    |-- Unavailable            nobody answers: check the address, or try again
    |-- DeadlineExceeded       allow more time; also a TimeoutError
    |-- Unauthenticated        send credentials that the server knows
    |-- PermissionDenied       ask for the right to do this
    |-- ClientClosed           make a new client
    |-- ServerFault            the server is at fault: report it
    `-- MissingExtra           install the extra that the message names; also an ImportError

What the server refuses and what is found out before anything is sent end in the same classes.
Exceptions of grpc and protobuf do not come out of this package.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self, final


class GradserveError(Exception):
    """The base of all exceptions of gradserve; never raised itself.

    Attributes:
        message: what is wrong, for people: the place, what was given, what is expected, a hint.
        reason: what is wrong, for programs, such as ``SHAPE_MISMATCH``; empty where none was given.
        code: name of the gRPC status code, such as ``INVALID_ARGUMENT``; empty where no server was
            asked.
        field: path of the part of the request at fault, such as ``batch.x``.
        node: path of the node at fault, such as ``layers/dense_1``.
        given: what was given.
        expected: what is taken.
        hint: what to do.
        metadata: all facts that the server gave, such as ``limit_bytes``.
        retry_seconds: when to try again, where waiting helps.
    """

    def __init__(
        self,
        message: str,
        *,
        reason: str = "",
        code: str = "",
        field: str = "",
        node: str = "",
        given: str = "",
        expected: str = "",
        hint: str = "",
        metadata: Mapping[str, str] | None = None,
        retry_seconds: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason
        self.code = code
        self.field = field
        self.node = node
        self.given = given
        self.expected = expected
        self.hint = hint
        self.metadata: dict[str, str] = dict(metadata or {})
        self.retry_seconds = retry_seconds

    def __str__(self) -> str:
        return self.message

    @classmethod
    def because(cls, text: str, *, field: str = "", given: object = "", expected: str = "", hint: str = "") -> Self:
        """The exception with its message put together as the server does it."""
        shown = str(given)
        if len(shown) > 200:
            shown = f"{shown[:199]}…"
        message = f"{field}: {text}" if field else text
        facts = [("given", shown), ("expected", expected)]
        values = ", ".join(f"{name} {value}" for name, value in facts if value)
        if values:
            message += f": {values}"
        if hint:
            message += f". {hint}"
        return cls(message, field=field, given=shown, expected=expected, hint=hint)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.message,), dict(self.__dict__)


@final
class InvalidRequest(GradserveError, ValueError):
    """The request makes no sense as it is: change it."""


@final
class Unsupported(GradserveError):
    """The request makes sense, and this server cannot serve it: ask otherwise, or another one."""


@final
class LimitExceeded(GradserveError):
    """The request is over a limit that waiting does not lift; `metadata` holds the numbers."""


@final
class Overloaded(GradserveError):
    """The server has no room now; `retry_seconds` says when to come back."""


@final
class MissingContent(GradserveError):
    """The server does not hold what a digest names: send it again."""


@final
class Unavailable(GradserveError):
    """Nobody answers at the address, or the server is about to stop."""


@final
class DeadlineExceeded(GradserveError, TimeoutError):
    """The answer did not come within `timeout`."""


@final
class Unauthenticated(GradserveError):
    """The server wants credentials, or does not know these."""


@final
class PermissionDenied(GradserveError):
    """The server knows the caller and does not let it do this."""


@final
class ClientClosed(GradserveError):
    """The client was closed: make a new one."""


@final
class ServerFault(GradserveError):
    """The server failed, or answered with something that is not an answer."""


@final
class MissingExtra(GradserveError, ImportError):
    """An optional part of gradserve is not installed; the message says how to install it."""

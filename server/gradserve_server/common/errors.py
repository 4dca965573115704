"""The one catalogue of what can go wrong.

A `Problem` is raised wherever a request turns out to be at fault (or the server is), crosses the seam between worker
and front as plain data, and becomes a google.rpc.Status in `front.status`. Nothing else in the server makes statuses.
"""

from __future__ import annotations

import difflib
import enum
from collections.abc import Iterable, Mapping

import msgspec


class Code(enum.Enum):
    """The gRPC codes in use, by name, so that code without gRPC can name them."""

    INVALID_ARGUMENT = "INVALID_ARGUMENT"
    FAILED_PRECONDITION = "FAILED_PRECONDITION"
    UNIMPLEMENTED = "UNIMPLEMENTED"
    RESOURCE_EXHAUSTED = "RESOURCE_EXHAUSTED"
    DEADLINE_EXCEEDED = "DEADLINE_EXCEEDED"
    CANCELLED = "CANCELLED"
    UNAVAILABLE = "UNAVAILABLE"
    INTERNAL = "INTERNAL"


class Reason(enum.Enum):
    """Every ErrorInfo.reason that the server gives: its code, and what it means."""

    # The request's bytes and fields.
    MALFORMED_REQUEST = Code.INVALID_ARGUMENT, "The bytes are not the message that this call takes."
    MISSING_FIELD = Code.INVALID_ARGUMENT, "A field that the call needs is not set."
    INVALID_VALUE = Code.INVALID_ARGUMENT, "A field holds a value that it cannot take."
    UNKNOWN_FIELD = Code.UNIMPLEMENTED, "A field, enum value or oneof member that this server does not know."
    NOT_IMPLEMENTED_YET = Code.UNIMPLEMENTED, "Part of the contract that this server does not serve yet."

    # Tensors.
    INVALID_TENSOR = Code.INVALID_ARGUMENT, "A tensor whose type, shape and bytes do not agree."
    DTYPE_MISMATCH = Code.INVALID_ARGUMENT, "A tensor of another element type than is needed."
    SHAPE_MISMATCH = Code.INVALID_ARGUMENT, "A tensor of another shape than is needed."
    INDEX_OUT_OF_RANGE = Code.INVALID_ARGUMENT, "A class or index outside the range that it counts in."

    # Names in the batch, the weights and the selection.
    MISSING_TENSOR = Code.INVALID_ARGUMENT, "A tensor that the network or the loss needs was not sent."
    UNKNOWN_NAME = Code.INVALID_ARGUMENT, "A name that refers to nothing."
    DEPENDENT_EXAMPLES = Code.INVALID_ARGUMENT, "Examples of the batch depend on each other, and must not here."
    EMPTY_BATCH = Code.INVALID_ARGUMENT, "A batch without examples."
    BATCH_SIZE_MISMATCH = Code.INVALID_ARGUMENT, "Tensors of one batch with different numbers of examples."
    INVALID_PATTERN = Code.INVALID_ARGUMENT, "A pattern of names that fits nothing."

    # The network and the loss.
    MALFORMED_NETWORK = Code.INVALID_ARGUMENT, "The bytes are not a network of the format that they claim."
    INVALID_NETWORK = Code.INVALID_ARGUMENT, "The graph as a whole does not make sense."
    INVALID_NODE = Code.INVALID_ARGUMENT, "A node whose attributes or inputs do not fit its operation."
    DUPLICATE_NAME = Code.INVALID_ARGUMENT, "Two things of one graph with the same name."
    UNKNOWN_REFERENCE = Code.INVALID_ARGUMENT, "A node refers to something that is not there, or comes later."
    UNKNOWN_OPERATION = Code.INVALID_ARGUMENT, "A node without an operation."
    UNSUPPORTED_OPERATION = Code.UNIMPLEMENTED, "An operation or option of it that this server does not serve yet."
    INCOMPATIBLE_ARTIFACT = Code.UNIMPLEMENTED, "An artifact of a version of JAX that this server does not read."
    UNSUPPORTED_BY_NETWORK = Code.UNIMPLEMENTED, "Something that networks of this format cannot have."
    INVALID_LOSS = Code.INVALID_ARGUMENT, "A loss that does not fit its outputs and targets."
    UNSUPPORTED_LOSS = Code.UNIMPLEMENTED, "A loss, or option of one, that this server does not serve yet."
    UNSUPPORTED_OPTION = Code.UNIMPLEMENTED, "An option that this server does not serve yet."
    MODE_REQUIRED = Code.INVALID_ARGUMENT, "The network behaves differently in training: the mode must be chosen."
    NOT_DIFFERENTIABLE = Code.INVALID_ARGUMENT, "A gradient was asked of what has none."

    # What was sent before.
    MISSING_CONTENT = Code.FAILED_PRECONDITION, "A digest names what the server does not hold: send it again."

    # Limits and load.
    TOO_LARGE = Code.RESOURCE_EXHAUSTED, "A size over a limit; waiting does not help."
    TOO_DEEP = Code.INVALID_ARGUMENT, "Blocks nested deeper than the limit."
    MEMORY_LIMIT = Code.RESOURCE_EXHAUSTED, "More memory than the server may use; waiting does not help."
    TIME_LIMIT = Code.RESOURCE_EXHAUSTED, "More time than one call may take; waiting does not help."
    OVERLOADED = Code.RESOURCE_EXHAUSTED, "The memory is in use by other requests; try again later."
    DEADLINE_EXPIRED = Code.DEADLINE_EXCEEDED, "The caller's deadline passed before the request could run."
    CANCELLED = Code.CANCELLED, "The caller gave the request up."
    DRAINING = Code.UNAVAILABLE, "The server is about to stop; ask another."
    NOT_READY = Code.UNAVAILABLE, "The server is starting; try again soon."

    # The server's own faults.
    WORKER_CRASHED = Code.INTERNAL, "The worker died with this request in it, more than once."
    INTERNAL = Code.INTERNAL, "A fault of the server, which has been logged."

    def __init__(self, code: Code, meaning: str) -> None:
        self.code = code
        self.meaning = meaning


class ProblemData(msgspec.Struct, frozen=True, array_like=True):
    """A `Problem` as plain data, for the way across the seam."""

    reason: str
    message: str
    metadata: dict[str, str]
    retry_seconds: float | None = None


class Problem(Exception):
    """A request that cannot be answered, and why.

    Args:
        reason: entry of the catalogue.
        message: what is wrong, for people, without the place and the values (they are added).
        field: path of the field at fault, such as ``batch.x``.
        node: path of the node at fault, such as ``layers/dense_1``.
        given: what was given.
        expected: what is taken.
        hint: what to do about it.
        retry_seconds: when to try again; only where waiting helps.
        metadata: further facts for programs; numbers as decimal digits.
    """

    def __init__(
        self,
        reason: Reason,
        message: str,
        *,
        field: str = "",
        node: str = "",
        given: str = "",
        expected: str = "",
        hint: str = "",
        retry_seconds: float | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        facts = {"field": field, "node": node, "given": given, "expected": expected, "hint": hint}
        self.reason = reason
        self.text = message
        self.metadata = {key: shorten(value) for key, value in facts.items() if value} | dict(metadata or {})
        self.retry_seconds = retry_seconds
        super().__init__(self._sentence())

    def _sentence(self) -> str:
        facts = self.metadata
        place = facts.get("field") or (f"node {facts['node']}" if "node" in facts else "")
        sentence = f"{place}: {self.text}" if place else self.text
        values = [f"{name} {facts[name]}" for name in ("given", "expected") if name in facts]
        if values:
            sentence += f": {', '.join(values)}"
        if "hint" in facts:
            sentence += f". {facts['hint']}"
        return sentence

    def at(self, *, field: str = "", node: str = "") -> Problem:
        """The same problem with its place filled in where it was not known yet."""
        place = {key: value for key, value in (("field", field), ("node", node)) if value}
        return _rebuild(self.reason, self.text, place | self.metadata, self.retry_seconds)

    def data(self) -> ProblemData:
        """Plain data that `from_data` makes the same problem of."""
        return ProblemData(self.reason.name, self.text, self.metadata, self.retry_seconds)

    @staticmethod
    def from_data(data: ProblemData) -> Problem:
        """The problem that `data` describes."""
        return _rebuild(Reason[data.reason], data.message, data.metadata, data.retry_seconds)


class ValuesNeeded(Exception):
    """A program depends on the values of some inputs, not on their forms alone: they must be in its spec.

    Args:
        names: all such inputs of the network.
    """

    def __init__(self, names: tuple[str, ...]) -> None:
        self.names = names
        super().__init__(", ".join(names))


def _rebuild(reason: Reason, text: str, metadata: Mapping[str, str], retry_seconds: float | None) -> Problem:
    return Problem(reason, text, metadata=metadata, retry_seconds=retry_seconds)


def shorten(text: str, limit: int = 300) -> str:
    """`text` cut to `limit` characters: gRPC drops details of more than a few kilobytes at random."""
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


_LONGEST_COMPARED, _MOST_COMPARED = 200, 2000


def near(name: str, known: Iterable[str]) -> str:
    """A hint that names what was probably meant, or what there is."""
    choices = list(known)
    # Comparing takes the product of lengths: long names, and names beyond many, are compared with nothing.
    comparable = [one for one in choices[:_MOST_COMPARED] if len(one) <= _LONGEST_COMPARED]
    close = difflib.get_close_matches(name, comparable, n=3, cutoff=0.6) if len(name) <= _LONGEST_COMPARED else []
    if close:
        return f"Did you mean {' or '.join(repr(one) for one in close)}?"
    if not choices:
        return "There are none."
    more = ", ..." if len(choices) > 8 else ""
    return f"There are: {', '.join(choices[:8])}{more}."

"""Answers whose form is known before their run: all but numbers, elements and times is made once for each program."""

from __future__ import annotations

import collections
import dataclasses
import functools
import struct
import threading
from collections.abc import Callable, Sequence
from typing import Any, final

from google.protobuf import duration_pb2

from gradserve.v1 import gradient_service_pb2 as service
from gradserve_server.common.specs import Checkpointing, Program
from gradserve_server.front.encoding import Piece, elements, entry_lead, field_lead
from gradserve_server.front.options import CHECKPOINTING_NUMBERS
from gradserve_server.front.tensors import Array
from gradserve_server.front.wire import FIXED_64, LENGTH_DELIMITED, header, to_varint

_QUEUE, _COMPILE, _EXECUTE = (
    bytes([service.Timing.DESCRIPTOR.fields_by_name[name].number << 3 | LENGTH_DELIMITED])
    for name in ("queue", "compile", "execute")
)

# On a stream, tensors of at least this size follow their answer as attachments.
ATTACHED_BYTES = 1 << 18

_MOST_FORMS = 1024


@dataclasses.dataclass(frozen=True)
class Times:
    """Where the time of one request went, and how it ran (`Timing` of the contract); times in seconds."""

    queue: float
    compile: float
    execute: float
    batched_requests: int
    padded_examples: int
    checkpointing: Checkpointing | None = None

    def message(self) -> service.Timing:
        """As the contract has it."""
        return service.Timing(
            queue=_duration(self.queue),
            compile=_duration(self.compile),
            execute=_duration(self.execute),
            batched_requests=self.batched_requests,
            padded_examples=self.padded_examples,
            checkpointing=_number(self.checkpointing),
        )

    def field(self, number: int) -> bytes:
        """As the field of this number; the same as `message` gives, in a third of the time."""
        pieces = []
        for place, seconds in ((_QUEUE, self.queue), (_COMPILE, self.compile), (_EXECUTE, self.execute)):
            if seconds:
                whole, nanoseconds = divmod(int(seconds * 1e9), 1_000_000_000)
                inner = (b"\x08" + to_varint(whole) if whole else b"") + (
                    b"\x10" + to_varint(nanoseconds) if nanoseconds else b""
                )
                pieces += [place, to_varint(len(inner)), inner]
        pieces.append(_constants(self.batched_requests, self.padded_examples, self.checkpointing))
        content = b"".join(pieces)
        return header(number, len(content)) + content


@dataclasses.dataclass(frozen=True)
class Reply:
    """A serialized answer, and what follows it on a stream.

    Attributes:
        content: the message.
        attachments: bytes of each attachment, the first of number 1; valid as long as the results are.
    """

    content: bytes
    attachments: tuple[memoryview, ...] = ()


@final
class Numbers:
    """A part of a message that is the same each time but for its doubles and booleans.

    These have one length whatever their value, so that all of it is packed at once.
    """

    def __init__(self, parts: Sequence[bytes | Slot]) -> None:
        self._format = struct.Struct("<" + "".join(_format(part) for part in parts))
        self._values: list[Any] = [part if isinstance(part, bytes) else None for part in parts]
        self._slots = [(place, part) for place, part in enumerate(parts) if isinstance(part, Slot)]

    def pack(self, numbers: Sequence[float]) -> bytes:
        """The bytes with these numbers."""
        values = self._values.copy()
        for place, slot in self._slots:
            values[place] = numbers[slot.index]
        return self._format.pack(*values)


@dataclasses.dataclass(frozen=True)
class Slot:
    """Where the number of this index goes, as a double or a boolean."""

    index: int
    boolean: bool = False


def _format(part: bytes | Slot) -> str:
    return f"{len(part)}s" if isinstance(part, bytes) else "?" if part.boolean else "d"


def number(field: int, slot: Slot) -> list[bytes | Slot]:
    """A field of type double, or bool, as parts."""
    return [to_varint(field << 3 | (0 if slot.boolean else FIXED_64)), slot]


def nested(field: int, parts: Sequence[bytes | Slot]) -> list[bytes | Slot]:
    """A field that is a message of these parts, as parts."""
    length = sum(len(part) if isinstance(part, bytes) else 1 if part.boolean else 8 for part in parts)
    return [header(field, length), *parts]


def entry(field: int, key: str, slot: Slot) -> list[bytes | Slot]:
    """An entry of a map from string to double, as parts."""
    name = key.encode()
    return nested(field, [header(1, len(name)) + name, *number(2, slot)])


@final
@dataclasses.dataclass(frozen=True)
class Form:
    """All of the answers that one program makes but their numbers, elements and times.

    Attributes:
        numbers: index of the result that holds the numbers, and the part of the answer that they go to.
        tensors: for each result that is answered, what leads to its elements, and its index; None where they follow
            as an attachment.
        attached: indices of the results that do, in order of their attachments' numbers.
        timing: number of the field.
    """

    numbers: tuple[int, Numbers] | None
    tensors: tuple[tuple[bytes, int | None], ...]
    attached: tuple[int, ...]
    timing: int

    def reply(self, results: Sequence[Array], times: Times, appendix: bytes = b"") -> Reply:
        """The answer that these results make; with a part of it that is known already."""
        pieces: list[Piece] = [times.field(self.timing), appendix]
        if self.numbers is not None:
            index, numbers = self.numbers
            pieces.append(numbers.pack(results[index].tolist()))
        for lead, place in self.tensors:
            pieces.append(lead)
            if place is not None:
                pieces.append(elements(results[place]))
        content = b"".join(pieces)
        if not self.attached:
            return Reply(content)
        return Reply(content, tuple(memoryview(elements(results[place])) for place in self.attached))


@final
class Tensors:
    """Gathers the tensors of a form.

    Args:
        program: whose results they are.
        split: whether large ones are attached.
    """

    def __init__(self, program: Program, *, split: bool) -> None:
        self._program = program
        self._split = split
        self.leads: list[tuple[bytes, int | None]] = []
        self.attached: list[int] = []

    def map(self, group: str, field: int) -> None:
        """The results of `group` as entries of the map field of this number."""
        self.leads += self._entries(group, field)

    def named(self, group: str, field: int) -> None:
        """The results of `group` as the field of this number and of type NamedTensors."""
        inner = self._entries(group, service.NamedTensors.BY_NAME_FIELD_NUMBER)
        results = self._program.results
        length = sum(len(lead) + (0 if index is None else results[index].array.nbytes) for lead, index in inner)
        # Also where there are none: that it is set says how gradients were answered.
        self.leads += [(header(field, length), None), *inner]

    def single(self, group: str, name: str, field: int) -> None:
        """The result of this name in `group`, if there is one, as the field of this number and of type Tensor."""
        for index, one in enumerate(self._program.results):
            if (one.group, one.array.name) != (group, name):
                continue
            form = (field, one.array.dtype, one.array.shape)
            if self._split and one.array.nbytes >= ATTACHED_BYTES:
                self.attached.append(index)
                self.leads.append((field_lead(*form, len(self.attached)), None))
            else:
                self.leads.append((field_lead(*form), index))

    def _entries(self, group: str, field: int) -> list[tuple[bytes, int | None]]:
        entries: list[tuple[bytes, int | None]] = []
        for index, one in enumerate(self._program.results):
            if one.group != group:
                continue
            form = (field, one.array.name, one.array.dtype, one.array.shape)
            if self._split and one.array.nbytes >= ATTACHED_BYTES:
                self.attached.append(index)
                entries.append((entry_lead(*form, len(self.attached)), None))
            else:
                entries.append((entry_lead(*form), index))
        return entries


def kept(make: Callable[..., Form]) -> Callable[..., Form]:
    """`make`, its forms kept by the key of their program and its other arguments."""
    forms: collections.OrderedDict[tuple[Any, ...], Form] = collections.OrderedDict()
    lock = threading.Lock()

    def find(program: Program, **how: Any) -> Form:
        key = (program.key, *how.values())
        form = forms.get(key)
        if form is None:
            form = make(program, **how)
            with lock:
                forms[key] = form
                if len(forms) > _MOST_FORMS:
                    forms.popitem(last=False)
        return form

    return find


def _duration(seconds: float) -> duration_pb2.Duration:
    whole, nanoseconds = divmod(int(seconds * 1e9), 1_000_000_000)
    return duration_pb2.Duration(seconds=whole, nanos=nanoseconds)


@functools.lru_cache(maxsize=1024)
def _constants(batched_requests: int, padded_examples: int, checkpointing: Checkpointing | None) -> bytes:
    return service.Timing(
        batched_requests=batched_requests, padded_examples=padded_examples, checkpointing=_number(checkpointing)
    ).SerializeToString()


def _number(checkpointing: Checkpointing | None) -> service.ComputeOptions.Checkpointing:
    """As the contract counts; that of nothing where there is none."""
    return CHECKPOINTING_NUMBERS[checkpointing or Checkpointing.AUTOMATIC]

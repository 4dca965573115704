"""Requests that differ from an earlier one in the elements of their tensors only.

Who computes gradients asks again and again with the same network, names and shapes. Of such a request nothing needs to
be parsed: if all bytes but those of the tensors are the earlier one's, so is all that they say, and the elements can be
copied from where they lie.
"""

from __future__ import annotations

import collections
import dataclasses
import threading
from collections.abc import Iterator
from typing import final

import numpy as np

from gradserve_server.front.convert import Task

# More than this beside tensors is not kept: to compare it would not be cheap, nor to hold it.
_MOST_FIXED_BYTES = 1 << 18
_MOST_TEMPLATES = 512
# Different requests of one length are rare, except from callers that send maps in an order of chance.
_MOST_OF_ONE_LENGTH = 4

_LENGTH_DELIMITED = 2
_SKIPPED = {1: 8, 5: 4}

# Numbers of fields in ComputeGradientsRequest and ForwardRequest (the same in both), Weights, NamedTensors and Tensor.
_WEIGHTS, _BATCH = 2, 3
_TENSORS, _BY_NAME = 1, 1
_KEY, _VALUE = 1, 2
_DATA = 3


class _IrregularError(Exception):
    """A message that is not in the form that all usual encoders write."""


@final
@dataclasses.dataclass(frozen=True)
class Template:
    """A request, and where in it the elements of its arrays lie.

    Attributes:
        task: what it asked for, without its arrays.
        fixed: all bytes between those of tensors, and where they start.
        places: start and end of the elements of each array, in the order of ``task.arrays``.
    """

    task: Task
    fixed: tuple[tuple[int, bytes], ...]
    places: tuple[tuple[int, int], ...]

    def fits(self, content: bytes) -> bool:
        """Whether `content`, of the same length, differs in elements only."""
        return all([content.startswith(part, start) for start, part in self.fixed])  # noqa: C419 (half the time)

    def fill(self, content: bytes) -> Task:
        """The task of `content`, its arrays pieces of it."""
        view, task = memoryview(content), self.task
        arrays = tuple([view[start:end] for start, end in self.places])
        return Task(task.spec, arrays, task.seeds, task.examples, task.as_safetensors, task.key)


@final
class Templates:
    """The least recently learnt are dropped. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_length: collections.OrderedDict[tuple[str, int], tuple[Template, ...]] = collections.OrderedDict()

    def find(self, method: str, content: bytes) -> Task | None:
        """The task of `content`, if a request like it is known."""
        for template in self._by_length.get((method, len(content)), ()):
            if template.fits(content):
                return template.fill(content)
        return None

    def learn(self, method: str, content: bytes, task: Task) -> None:
        """Remembers a request, if it has a form that can be."""
        template = make(content, task)
        if template is None:
            return
        key = (method, len(content))
        with self._lock:
            known = self._by_length.pop(key, ())
            self._by_length[key] = (template, *known)[:_MOST_OF_ONE_LENGTH]
            while len(self._by_length) > _MOST_TEMPLATES:
                self._by_length.popitem(last=False)


def make(content: bytes, task: Task) -> Template | None:
    """A template of `content`, or None where its arrays do not lie in it as they are."""
    try:
        weights, batch = _places(content)
    except (_IrregularError, IndexError):
        return None
    names = [one.name for one in task.spec.weights or ()], [one.name for one in task.spec.batch]
    places = []
    for known, wanted in zip((weights, batch), names, strict=True):
        if not known.keys() >= set(wanted):
            return None
        places += [known[name] for name in wanted]
    for array, (start, end) in zip(task.arrays, places, strict=True):
        assert isinstance(array, np.ndarray)
        # Booleans are checked element by element, and so not taken unread.
        if array.dtype == np.bool_ or array.nbytes != end - start or array.tobytes() != content[start:end]:
            return None
    fixed = []
    place = 0
    for start, end in (*sorted(places), (len(content), len(content))):
        if start < place:
            return None
        fixed.append((place, content[place:start]))
        place = end
    if sum(len(part) for _, part in fixed) > _MOST_FIXED_BYTES:
        return None
    return Template(dataclasses.replace(task, arrays=()), tuple(fixed), tuple(places))


Places = dict[str, tuple[int, int]]


def _places(content: bytes) -> tuple[Places, Places]:
    """Where the elements of the weights and of the batch lie, by name."""
    weights: Places = {}
    batch: Places = {}
    for number, start, end in _fields(content, 0, len(content)):
        if number == _BATCH:
            _entry(content, start, end, batch)
        elif number == _WEIGHTS:
            for inner, inner_start, inner_end in _fields(content, start, end):
                if inner == _TENSORS:
                    for innermost, entry_start, entry_end in _fields(content, inner_start, inner_end):
                        if innermost == _BY_NAME:
                            _entry(content, entry_start, entry_end, weights)
    return weights, batch


def _entry(content: bytes, start: int, end: int, places: Places) -> None:
    fields = list(_fields(content, start, end))
    if [number for number, _, _ in fields] != [_KEY, _VALUE]:
        raise _IrregularError
    (_, name_start, name_end), (_, tensor_start, tensor_end) = fields
    name = content[name_start:name_end].decode(errors="replace")
    data = [(first, last) for number, first, last in _fields(content, tensor_start, tensor_end) if number == _DATA]
    if name in places or len(data) > 1:
        # The later one counts, which is rare enough to leave to the parser.
        raise _IrregularError
    # A tensor without bytes is all fixed, and has a place only if it has no elements.
    if data:
        places[name] = data[0]


def _fields(content: bytes, place: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Number, start and end of each length-delimited field of the message at `place`; other fields are passed over."""
    while place < end:
        tag, place = _varint(content, place)
        kind = tag & 7
        if kind == _LENGTH_DELIMITED:
            length, place = _varint(content, place)
            yield tag >> 3, place, place + length
            place += length
        elif kind == 0:
            _, place = _varint(content, place)
        elif kind in _SKIPPED:
            place += _SKIPPED[kind]
        else:
            raise _IrregularError
    if place != end:
        raise _IrregularError


def _varint(content: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = content[place]
        place += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, place
        shift += 7
        if shift > 63:
            raise _IrregularError

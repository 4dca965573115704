"""Requests that differ from an earlier one in the elements of their tensors only.

Who computes gradients asks again and again with the same network, names and shapes. Of such a request nothing needs to
be parsed: if all bytes but those of the tensors are the earlier one's, so is all that they say, and the elements can be
copied from where they lie.
"""

from __future__ import annotations

import collections
import dataclasses
import threading
from collections.abc import Iterator, Mapping
from typing import final

import numpy as np

from gradserve_server.front.convert import Task
from gradserve_server.front.tensors import Array
from gradserve_server.front.wire import LENGTH_DELIMITED, IrregularError, fields

# More than this beside tensors is not kept: to compare it would not be cheap, nor to hold it.
_MOST_FIXED_BYTES = 1 << 18
_MOST_TEMPLATES = 512
# Different requests of one length are rare, except from callers that send maps in an order of chance.
_MOST_OF_ONE_LENGTH = 4

# Numbers of fields in the requests (the same in all that have them), Weights, NamedTensors and Tensor, Loss,
# Cotangents, Sum and Term.
_WEIGHTS, _BATCH, _LOSS = 2, 3, 4
_TENSORS, _BY_NAME = 1, 1
_COTANGENTS, _BY_OUTPUT = 10, 1
_SUM, _TERMS, _TERM_LOSS = 12, 1, 2
_KEY, _VALUE = 1, 2
_DATA = 3
# Fields that hold tangents, by kind of program.
_TANGENTS = {
    "jacobian_product": {4: "weight_tangents.", 5: "input_tangents."},
    "hessian_product": {5: "vector."},
}


@final
@dataclasses.dataclass(frozen=True)
class Template:
    """A request, and where in it the elements of its arrays lie.

    Attributes:
        task: what it asked for, without its arrays.
        fixed: all bytes between those of tensors, and where they start.
        places: where in a request the elements of each array lie, in the order of ``task.arrays``; or the array itself,
            where it is made of what is fixed.
    """

    task: Task
    fixed: tuple[tuple[int, bytes], ...]
    places: tuple[slice | Array, ...]

    def fits(self, content: bytes) -> bool:
        """Whether `content`, of the same length, differs in elements only."""
        return all([content.startswith(part, start) for start, part in self.fixed])  # noqa: C419 (half the time)

    def fill(self, content: bytes) -> Task:
        """The task of `content`, its arrays pieces of it."""
        view, task = memoryview(content), self.task
        arrays = tuple([view[place] if isinstance(place, slice) else place for place in self.places])
        return Task(task.spec, arrays, task.seeds, task.examples, task.as_safetensors, task.key, appendix=task.appendix)


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
        weights, batch, vectors = _bounds(content, _TANGENTS.get(task.spec.kind, {}))
    except (IrregularError, IndexError):
        return None
    spec = task.spec
    wanted = [(weights, one) for one in spec.weights or ()] + [(batch, one) for one in spec.batch]
    bounds = [known.get(one.name) for known, one in wanted]
    if None in bounds:
        return None
    # Of the vectors, weights of terms are numbers between other fields: another number is another request.
    bounds += [vectors.get(one.name) for one in spec.vectors]
    places: list[slice | Array] = []
    for array, bound in zip(task.arrays, bounds, strict=True):
        assert isinstance(array, np.ndarray)
        if bound is None:
            places.append(array)
            continue
        start, end = bound
        # Booleans are checked element by element, and so not taken unread.
        if array.dtype == np.bool_ or array.nbytes != end - start or array.tobytes() != content[start:end]:
            return None
        places.append(slice(start, end))
    fixed = []
    end_before = 0
    for start, end in (*sorted(bound for bound in bounds if bound), (len(content), len(content))):
        if start < end_before:
            return None
        fixed.append((end_before, content[end_before:start]))
        end_before = end
    if sum(len(part) for _, part in fixed) > _MOST_FIXED_BYTES:
        return None
    return Template(dataclasses.replace(task, arrays=()), tuple(fixed), tuple(places))


Bounds = dict[str, tuple[int, int]]


def _bounds(content: bytes, tangents: Mapping[int, str]) -> tuple[Bounds, Bounds, Bounds]:
    """Where the elements of the weights, of the batch and of the vectors start and end, by name.

    Args:
        content: the request.
        tangents: what the names of vectors begin with that are in a field of this number.
    """
    weights: Bounds = {}
    batch: Bounds = {}
    vectors: Bounds = {}
    for number, start, end in _pieces(content, 0, len(content)):
        if number in tangents:
            _entry(content, start, end, vectors, tangents[number])
        elif number == _LOSS:
            _loss(content, start, end, "loss", vectors)
        elif number == _BATCH:
            _entry(content, start, end, batch)
        elif number == _WEIGHTS:
            for inner, inner_start, inner_end in _pieces(content, start, end):
                if inner == _TENSORS:
                    for innermost, entry_start, entry_end in _pieces(content, inner_start, inner_end):
                        if innermost == _BY_NAME:
                            _entry(content, entry_start, entry_end, weights)
    return weights, batch, vectors


def _loss(content: bytes, start: int, end: int, field: str, bounds: Bounds) -> None:
    """The cotangents of the loss at `field`, and of its terms."""
    for number, inner_start, inner_end in _pieces(content, start, end):
        if number == _COTANGENTS:
            for inner, entry_start, entry_end in _pieces(content, inner_start, inner_end):
                if inner == _BY_OUTPUT:
                    _entry(content, entry_start, entry_end, bounds, f"{field}.cotangents.by_output.")
        elif number == _SUM:
            terms = [bound for inner, *bound in _pieces(content, inner_start, inner_end) if inner == _TERMS]
            for index, (term_start, term_end) in enumerate(terms):
                for inner, loss_start, loss_end in _pieces(content, term_start, term_end):
                    if inner == _TERM_LOSS:
                        _loss(content, loss_start, loss_end, f"{field}.sum.terms[{index}].loss", bounds)


def _entry(content: bytes, start: int, end: int, bounds: Bounds, prefix: str = "") -> None:
    found = list(_pieces(content, start, end))
    if [number for number, _, _ in found] != [_KEY, _VALUE]:
        raise IrregularError
    (_, name_start, name_end), (_, tensor_start, tensor_end) = found
    name = prefix + content[name_start:name_end].decode(errors="replace")
    data = [(first, last) for number, first, last in _pieces(content, tensor_start, tensor_end) if number == _DATA]
    if name in bounds or len(data) > 1:
        # The later one counts, which is rare enough to leave to the parser.
        raise IrregularError
    # A tensor without bytes is all fixed, and has a place only if it has no elements.
    if data:
        bounds[name] = data[0]


def _pieces(content: bytes, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Number, start and end of each length-delimited field of a message."""
    for number, kind, first, last in fields(content, start, end):
        if kind == LENGTH_DELIMITED:
            yield number, first, last

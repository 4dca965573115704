"""Which program a spec has: each is prepared once, however many ask for it at the same time."""

from __future__ import annotations

import collections
import dataclasses
import threading
from collections.abc import Callable
from typing import final

from gradserve_server.common.specs import Program, ProgramSpec


@dataclasses.dataclass(frozen=True)
class Prepared:
    """A program, with the sizes that every run of it needs.

    Attributes:
        program: as the worker gave it.
        block_bytes: arguments and results of a run.
        result_bytes: the results alone.
        beside_bytes: what a run takes on the device beside those.
    """

    program: Program
    block_bytes: int
    result_bytes: int
    beside_bytes: int

    @staticmethod
    def of(program: Program) -> Prepared:
        """`program` with its sizes."""
        footprint = program.footprint
        return Prepared(program, footprint.arguments + footprint.results, footprint.results, footprint.beside)


@final
class _Preparation:
    """A program that is being prepared: who asked first does it, the others wait."""

    def __init__(self) -> None:
        self.done = threading.Event()
        self.prepared: Prepared | None = None
        self.error: BaseException | None = None


@final
class Programs:
    """The least recently used programs are dropped; failures are told to all who wait, and not kept."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._held: collections.OrderedDict[bytes, Prepared] = collections.OrderedDict()
        self._underway: dict[bytes, _Preparation] = {}

    def __len__(self) -> int:
        return len(self._held)

    def find(self, key: bytes) -> Prepared | None:
        """The program of the spec with this key, if it has been prepared."""
        with self._lock:
            prepared = self._held.get(key)
            if prepared is not None:
                self._held.move_to_end(key)
            return prepared

    def get(self, key: bytes, spec: ProgramSpec, prepare: Callable[[ProgramSpec], Program]) -> Prepared:
        """The program of `spec`, which has this key; prepared by this call, or by the one that is already at it."""
        with self._lock:
            held = self._held.get(key)
            if held is not None:
                return held
            preparation = self._underway.get(key)
            mine = preparation is None
            if preparation is None:
                preparation = self._underway[key] = _Preparation()
        if mine:
            self._prepare(key, spec, prepare, preparation)
        else:
            preparation.done.wait()
        if preparation.error is not None:
            raise preparation.error
        assert preparation.prepared is not None
        return preparation.prepared

    def forget(self, key: bytes, prepared: Prepared) -> None:
        """Drops `prepared`, which the worker does not hold any more; not what another call has prepared since."""
        with self._lock:
            if self._held.get(key) is prepared:
                del self._held[key]

    def _prepare(
        self, key: bytes, spec: ProgramSpec, prepare: Callable[[ProgramSpec], Program], preparation: _Preparation
    ) -> None:
        try:
            preparation.prepared = Prepared.of(prepare(spec))
        except BaseException as error:  # noqa: BLE001 (told to all who wait)
            preparation.error = error
        with self._lock:
            del self._underway[key]
            if preparation.prepared is not None:
                self._held[key] = preparation.prepared
                while len(self._held) > self._most:
                    self._held.popitem(last=False)
        preparation.done.set()

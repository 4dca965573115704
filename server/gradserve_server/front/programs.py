"""Which program a spec has: each is prepared once, however many ask for it at the same time."""

from __future__ import annotations

import collections
import threading
from collections.abc import Callable
from typing import final

from gradserve_server.common.specs import Program, ProgramSpec


@final
class _Preparation:
    """A program that is being prepared: who asked first does it, the others wait."""

    def __init__(self) -> None:
        self.done = threading.Event()
        self.program: Program | None = None
        self.error: BaseException | None = None


@final
class Programs:
    """The least recently used programs are dropped; failures are told to all who wait, and not kept."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._held: collections.OrderedDict[ProgramSpec, Program] = collections.OrderedDict()
        self._underway: dict[ProgramSpec, _Preparation] = {}

    def __len__(self) -> int:
        return len(self._held)

    def find(self, spec: ProgramSpec) -> Program | None:
        """The program of `spec`, if it has been prepared."""
        with self._lock:
            program = self._held.get(spec)
            if program is not None:
                self._held.move_to_end(spec)
            return program

    def get(self, spec: ProgramSpec, prepare: Callable[[ProgramSpec], Program]) -> Program:
        """The program of `spec`; prepared by this call, or by the one that is already at it."""
        with self._lock:
            program = self._held.get(spec)
            if program is not None:
                return program
            preparation = self._underway.get(spec)
            mine = preparation is None
            if preparation is None:
                preparation = self._underway[spec] = _Preparation()
        if mine:
            self._prepare(spec, prepare, preparation)
        else:
            preparation.done.wait()
        if preparation.error is not None:
            raise preparation.error
        assert preparation.program is not None
        return preparation.program

    def forget(self, spec: ProgramSpec) -> None:
        """Drops the program of `spec`, which the worker does not hold any more."""
        with self._lock:
            self._held.pop(spec, None)

    def _prepare(self, spec: ProgramSpec, prepare: Callable[[ProgramSpec], Program], preparation: _Preparation) -> None:
        try:
            preparation.program = prepare(spec)
        except BaseException as error:  # noqa: BLE001 (told to all who wait)
            preparation.error = error
        with self._lock:
            del self._underway[spec]
            if preparation.program is not None:
                self._held[spec] = preparation.program
                while len(self._held) > self._most:
                    self._held.popitem(last=False)
        preparation.done.set()

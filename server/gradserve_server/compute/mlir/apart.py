"""Checks modules in a process of their own.

MLIR's reader takes bytes on trust: one changed byte in a few hundred can crash it, or keep it busy for ever. The worker
holds the programs of all callers, so strangers' bytes are not read there. The process lives as long as one artifact
takes, and what it gives back was written by MLIR itself.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from typing import Final

import msgspec

from gradserve_server.common.errors import Problem, ProblemData, Reason
from gradserve_server.common.specs import Limits
from gradserve_server.compute.mlir.types import Form

_SECONDS: Final = 30.0


class Module(msgspec.Struct, frozen=True, array_like=True):
    """A module, and what its function ``main`` must take and give."""

    content: bytes
    inputs: tuple[Form, ...]
    outputs: tuple[Form, ...]


class Task(msgspec.Struct, frozen=True, array_like=True):
    """What the process is asked.

    Attributes:
        modules: of one artifact.
        limits: bounds on their sizes.
        field: path of the artifact in the request.
        seconds: of computing that it may take.
    """

    modules: tuple[Module, ...]
    limits: Limits
    field: str
    seconds: float


class Checked(msgspec.Struct, frozen=True, array_like=True):
    """What it answers: the modules, written anew, or what is wrong with one."""

    modules: tuple[bytes, ...]
    problem: ProblemData | None


def check_apart(modules: Sequence[Module], limits: Limits, field: str, seconds: float = _SECONDS) -> tuple[bytes, ...]:
    """The modules, checked and written anew; see `checking.checked_module`.

    Raises:
        Problem: one is refused, crashes its reader, or takes it too long.
    """
    task = msgspec.msgpack.encode(Task(tuple(modules), limits, field, seconds))
    command = [sys.executable, "-P", "-m", "gradserve_server.compute.mlir.reader"]
    try:
        done = subprocess.run(command, input=task, capture_output=True, timeout=2 * seconds, check=True)
        checked = msgspec.msgpack.decode(done.stdout, type=Checked)
    except subprocess.TimeoutExpired:
        raise Problem(
            Reason.TIME_LIMIT, "the module takes too long to read", field=field, expected=f"at most {seconds:g} seconds"
        ) from None
    except (subprocess.CalledProcessError, msgspec.DecodeError):
        raise Problem(
            Reason.MALFORMED_NETWORK,
            "not a StableHLO module: the process that read it crashed, or took too much time or memory",
            field=field,
        ) from None
    if checked.problem is not None:
        raise Problem.from_data(checked.problem)
    return checked.modules

"""The process that reads strangers' modules: a task on standard input, an answer on standard output.

It holds nothing that anyone else needs, and the kernel ends it where it takes more than it may.
"""

from __future__ import annotations

import resource
import sys

import msgspec

from gradserve_server.common.errors import Problem
from gradserve_server.compute.mlir.apart import Checked, Task
from gradserve_server.compute.mlir.checking import checked_module

# Address space; the libraries take a tenth of it.
_MEMORY_BYTES = 4 << 30


def main() -> None:
    """Checks what comes on standard input, and answers on standard output."""
    task = msgspec.msgpack.decode(sys.stdin.buffer.read(), type=Task)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    seconds = max(1, int(task.seconds))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    try:
        modules = tuple(
            checked_module(one.content, one.inputs, one.outputs, task.limits, task.field) for one in task.modules
        )
        answer = Checked(modules, None)
    except Problem as problem:
        answer = Checked((), problem.data())
    sys.stdout.buffer.write(msgspec.msgpack.encode(answer))


if __name__ == "__main__":
    main()

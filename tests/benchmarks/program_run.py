"""One program in a process of its own: its memory and its time.

The process is as the server's worker is: it keeps freed memory, a thread beside the main one runs the
program, and it has run others before, so that code that is read in at first use does not count.

Run as a program: `python -m tests.benchmarks.program_run NETWORK CHOICE PARTS PRECISION` prints a line of JSON.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import json
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import gradserve as gs
from gradserve_server.common.memory import give_back_freed_memory, keep_freed_memory
from gradserve_server.common.specs import (
    ArraySpec,
    Checkpointing,
    Limits,
    NetworkSource,
    Options,
    Precision,
    Program,
    ProgramSpec,
    Selection,
)

if TYPE_CHECKING:
    from gradserve_server.compute.executor import Executor

ROUNDS = 6
# Of the program that is run before the one that is measured.
WARM_DEPTH, WARM_EXAMPLES = 2, 8


@dataclasses.dataclass(frozen=True)
class Measured:
    """What a run takes.

    Attributes:
        peak: bytes by the compiler's own figures.
        resident: bytes by which the process grew in the first run. The heap keeps them; where a small block
            has since been put among them, a later run may take as many again.
        seconds: of a run, the median.
    """

    peak: int
    resident: int
    seconds: float


def measured(network: str, choice: str, *, parts: int = 1, precision: str = "full") -> Measured:
    """What one of `NETWORKS` takes, in a fresh process."""
    command = [sys.executable, "-m", "tests.benchmarks.program_run", network, choice, str(parts), precision]
    found = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return Measured(**json.loads(found.splitlines()[-1]))


def _layer(units: int) -> tuple[gs.Layer, gs.Layer]:
    return gs.dense(units), gs.tanh()


def scanned(depth: int) -> gs.Network:
    """Equal layers of 128 as a loop."""
    return gs.sequential(gs.repeat(list(_layer(128)), depth), x=("batch", 128))


def unrolled(depth: int) -> gs.Network:
    """The same layers one by one."""
    return gs.sequential(*(one for _ in range(depth) for one in _layer(128)), x=("batch", 128))


def different(depth: int) -> gs.Network:
    """Layers of different widths, which no loop could hold."""
    widths = [128 - number % 3 for number in range(depth - 1)]
    return gs.sequential(*(one for width in (*widths, 128) for one in _layer(width)), x=("batch", 128))


def transformer(depth: int) -> gs.Network:
    """Blocks of attention and two dense layers, width 128, with residual connections."""
    attention = gs.residual(gs.layer_normalization(), gs.attention(heads=4))
    dense = gs.residual(gs.layer_normalization(), gs.dense(512), gs.gelu(), gs.dense(128))
    return gs.sequential(gs.repeat([attention, dense], depth), x=("batch", 128, 128))


def products(depth: int) -> gs.Network:
    """Wide layers, of which the products take all of the time."""
    return gs.sequential(*(one for _ in range(depth) for one in (gs.dense(1024), gs.relu())), x=("batch", 1024))


# Name to the network, and the shape of an input.
NETWORKS: dict[str, tuple[Callable[[int], gs.Network], tuple[int, ...]]] = {
    "scanned": (scanned, (1024, 128)),
    "unrolled": (unrolled, (1024, 128)),
    "different": (different, (4096, 128)),
    "large": (scanned, (4096, 128)),
    "transformer": (transformer, (16, 128, 128)),
    "products": (products, (512, 1024)),
}


def main(network: str, choice: str, parts: int, precision: str) -> None:
    """Measures one program and prints what it takes."""
    from gradserve_server.compute.executor import Executor

    name, _, depth = network.partition(":")
    options = Options(checkpointing=Checkpointing(choice), precision=Precision(precision), micro_batches=parts)
    build, shape = NETWORKS[name]
    executor = Executor(Limits())
    warm, arrays = _prepared(executor, build(WARM_DEPTH), (WARM_EXAMPLES, *shape[1:]), options)
    executor.run(warm.key, arrays, 0, 0)
    program, arrays = _prepared(executor, build(int(depth)), shape, options)
    # What compiling has left free goes back to the system.
    give_back_freed_memory()
    before = _status("VmRSS")
    # From here on the highest mark is that of the run.
    Path("/proc/self/clear_refs").write_text("5")
    executor.run(program.key, arrays, 0, 0)
    resident = _status("VmHWM") - before
    seconds = [executor.run(program.key, arrays, 0, 0)[1] for _ in range(ROUNDS - 1)]
    print(json.dumps(dataclasses.asdict(Measured(program.peak_bytes, resident, statistics.median(seconds)))))


def _prepared(
    executor: Executor, network: gs.Network, shape: tuple[int, ...], options: Options
) -> tuple[Program, list[np.ndarray]]:
    """The program of a network's gradients, and what it is run on."""
    source = NetworkSource("graph", network.to_bytes())
    weights = gs.weights.from_safetensors(executor.initialize(source, 0))
    spec = ProgramSpec(
        kind="gradients",
        network=source,
        loss=gs.squared_error("y").to_bytes(),
        batch=(ArraySpec("x", "float32", shape), ArraySpec("y", "float32", shape)),
        weights=tuple(ArraySpec(one, "float32", weights[one].shape) for one in sorted(weights)),
        selection=Selection(summary_only=True),
        options=options,
    )
    generator = np.random.default_rng(0)
    arrays = [weights[one] for one in sorted(weights)]
    arrays += [generator.normal(size=shape).astype(np.float32) for _ in range(2)]
    return executor.prepare(spec), arrays


def _status(field: str) -> int:
    """A field of this process's status, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:"))


if __name__ == "__main__":
    keep_freed_memory()
    with concurrent.futures.ThreadPoolExecutor(1) as lane:
        lane.submit(main, sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]).result()

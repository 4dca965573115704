"""Memory for compute: what checkpointing, parts of a batch and 16 bits save, by resident memory, and what they cost."""

from __future__ import annotations

import functools
from collections.abc import Iterator

from tests.benchmarks.program_run import Measured, measured
from tests.benchmarks.row import Row

MIB = 1 << 20
# Layers. The reference is the loop or the single layers, whichever needs less.
DEEP, DEPTH = 100, 12


def measure_memory(only: str) -> Iterator[Row]:
    """The rows `checkpoint_*`, `micro_batches_memory` and `bfloat16_time`."""
    run = functools.cache(measured)

    def pair(name: str, lean: Measured, off: list[Measured], memory: float, time: float | None) -> Iterator[Row]:
        if only in f"{name}_memory":
            least = min(one.resident for one in off)
            yield Row(f"{name}_memory", lean.resident / MIB, "MiB", least / MIB, memory)
        if time is not None and only in f"{name}_time":
            fastest = min(one.seconds for one in off)
            yield Row(f"{name}_time", lean.seconds * 1e3, "ms", fastest * 1e3, time)

    def wanted(*names: str) -> bool:
        return any(only in name for name in names)

    if wanted("checkpoint_mlp_memory", "checkpoint_mlp_time"):
        off = [run(f"{name}:{DEEP}", "off") for name in ("scanned", "unrolled")]
        yield from pair("checkpoint_mlp", run(f"scanned:{DEEP}", "sqrt"), off, 0.4, 1.3)
    if wanted("checkpoint_transformer_memory", "checkpoint_transformer_time"):
        off = [run(f"transformer:{DEPTH}", "off")]
        yield from pair("checkpoint_transformer", run(f"transformer:{DEPTH}", "blocks"), off, 0.25, 1.1)
    if wanted("checkpoint_unrolled_memory"):
        off = [run(f"different:{DEEP}", "off")]
        yield from pair("checkpoint_unrolled", run(f"different:{DEEP}", "sqrt"), off, 0.5, None)
    if wanted("micro_batches_memory"):
        whole = run(f"large:{DEEP}", "off")
        parts = run(f"large:{DEEP}", "off", parts=8)
        yield Row("micro_batches_memory", parts.resident / MIB, "MiB", whole.resident / MIB, 0.3)
    if wanted("bfloat16_time"):
        full, half = (run("products:4", "off", precision=one) for one in ("full", "bfloat16"))
        yield Row("bfloat16_time", half.seconds * 1e3, "ms", full.seconds * 1e3, None)

"""Which memory of a run is the request's own: what XLA takes from where it lies is not copied."""

from __future__ import annotations

import jax
import numpy as np
from msgspec import structs

import gradserve as gs
from gradserve_server.common.memory import aligned
from gradserve_server.common.specs import ArraySpec, Limits, NetworkSource, ProgramSpec
from gradserve_server.compute.executor import Executor


def test_aligned_arguments_are_taken_from_where_they_lie() -> None:
    array = aligned(1 << 20).view(np.float32)
    array[:] = 1
    shared = jax.device_put(array)
    assert shared.unsafe_buffer_pointer() == array.ctypes.data


def test_of_the_peak_it_is_what_the_program_looks_at_that_lies_in_place() -> None:
    network = NetworkSource("graph", gs.sequential(gs.dense(16, name="layer"), x=("batch", 32)).to_bytes())
    weights = (ArraySpec("layer/bias", "float32", (16,)), ArraySpec("layer/kernel", "float32", (32, 16)))
    spec = ProgramSpec("forward", network, b"", (ArraySpec("x", "float32", (8, 32)),), weights, outputs=("layer",))
    executor = Executor(Limits())
    known = executor.prepare(spec)
    arguments = sum(one.nbytes for one in (*weights, *spec.batch))
    assert known.in_place_bytes == arguments
    results = sum(one.array.nbytes for one in known.results)
    assert results <= known.footprint.beside < results + arguments
    # A batch is copied to be padded.
    ragged = structs.replace(spec, batch=(ArraySpec("x", "float32", (9, 32)),))
    padded = Executor(Limits(pad_batches=True)).prepare(ragged)
    assert padded.padded_examples > 9
    own = sum(one.array.nbytes for one in padded.results)
    assert padded.footprint.beside >= own + padded.padded_examples * 32 * 4

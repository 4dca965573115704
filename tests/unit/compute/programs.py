"""Programs as the server runs them, without the way to them: NumPy in, NumPy out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

import gradserve as gs
from gradserve_server.common.specs import ArraySpec, Limits, NetworkSource, ProgramSpec
from gradserve_server.compute.executor import Executor
from gradserve_server.front.losses import read_loss

Arrays = dict[str, Any]

EXECUTOR = Executor(Limits())


def forms(arrays: Mapping[str, np.ndarray]) -> tuple[ArraySpec, ...]:
    return tuple(ArraySpec(name, array.dtype.name, array.shape) for name, array in sorted(arrays.items()))


def weights_of(network: gs.Network, seed: int = 0, dtype: Any = np.float64) -> Arrays:
    """Parameters and statistics, of which none is zero or one by default."""
    content = EXECUTOR.initialize(NetworkSource("graph", network.to_bytes()), seed)
    drawn = np.random.default_rng(seed)
    found = gs.weights.from_safetensors(content)
    return {name: (value + drawn.uniform(0.1, 0.5, value.shape)).astype(dtype) for name, value in found.items()}


def spec_of(
    kind: str,
    network: gs.Network,
    weights: Mapping[str, np.ndarray],
    batch: Mapping[str, np.ndarray],
    loss: gs.Loss | None = None,
    *,
    vectors: Mapping[str, np.ndarray] | None = None,
    **fields: Any,
) -> tuple[ProgramSpec, Arrays]:
    """A program, and the vectors that it takes."""
    content, in_loss = (b"", {}) if loss is None else read_loss(loss.message, 1 << 20)
    vectors = {**in_loss, **(vectors or {})}
    spec = ProgramSpec(
        kind=kind,  # type: ignore[arg-type]
        network=NetworkSource("graph", network.to_bytes()),
        loss=content,
        batch=forms(batch),
        weights=forms(weights),
        vectors=forms(vectors),
        **fields,
    )
    return spec, vectors


def compute(
    kind: str,
    network: gs.Network,
    weights: Mapping[str, np.ndarray],
    batch: Mapping[str, np.ndarray],
    loss: gs.Loss | None = None,
    *,
    seed: int = 0,
    **fields: Any,
) -> dict[str, Any]:
    """What a program gives: arrays by group and name, and numbers by name under ``numbers``."""
    spec, vectors = spec_of(kind, network, weights, batch, loss, **fields)
    program = EXECUTOR.prepare(spec)
    arrays = [group[name] for group in (weights, batch, vectors) for name in sorted(group)]
    results, _ = EXECUTOR.run(program.key, arrays, 0, seed)
    found: dict[str, Any] = {}
    for result, array in zip(program.results, results, strict=True):
        found.setdefault(result.group, {})[result.array.name] = array
    if program.numbers:
        found["numbers"] = dict(zip(program.numbers, found["numbers"]["numbers"].tolist(), strict=True))
    return found

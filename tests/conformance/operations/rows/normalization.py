"""Normalization layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gradserve.v1 import network_pb2
from tests.conformance.operations import oracles
from tests.conformance.operations.oracles import Array
from tests.conformance.operations.rows.row import Row, Sizes


def _normalization() -> list[Row]:
    def row(
        name: str, oracle: Callable[..., Array], shape: Sizes = ("a", 3), training: bool = False, **fields: Any
    ) -> Row:
        kind = name.split(maxsplit=1)[0].upper()
        message = network_pb2.Normalization(kind=network_pb2.Normalization.Kind.Value(f"KIND_{kind}"), **fields)
        return Row(f"normalization {name}", "normalization", message, (shape,), oracle, training=training, least=2)

    stored = oracles.stored_normalization
    return [
        row("layer", oracles.layer_normalization),
        row("layer bare", oracles.layer_normalization, without_scale=True, without_bias=True),
        row("rms", oracles.rms_normalization),
        row("group", oracles.group_normalization(2), ("a", "b", 4), groups=2),
        row("group instance", oracles.group_normalization(2), ("a", 2, 2, 2), groups=2),
        row("batch training", oracles.batch_normalization, ("a", "b", 2), training=True, epsilon=0.01),
        row("batch inference", stored, ("a", "b", 2)),
        row("batch fixed", stored, training=True, fixed_statistics=True),
    ]


ROWS = [*_normalization()]

"""Normalization layers."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from gradserve.v1 import network_pb2
from tests.conformance.operations import oracles
from tests.conformance.operations.oracles import Array
from tests.conformance.operations.rows.row import Row, Sizes


def _normalization() -> list[Row]:
    def row(
        name: str,
        oracle: Callable[..., Array],
        shape: Sizes = ("a", 3),
        training: bool = False,
        momentum: float = 0.9,
        **fields: Any,
    ) -> Row:
        kind = name.split(maxsplit=1)[0].upper()
        message = network_pb2.Normalization(kind=network_pb2.Normalization.Kind.Value(f"KIND_{kind}"), **fields)
        made = Row(f"normalization {name}", "normalization", message, (shape,), oracle, training=training, least=2)
        if not training or message.fixed_statistics:
            return made
        if momentum != 0.9:
            message.momentum = momentum
        return dataclasses.replace(
            made, updated=oracles.moved_statistics(momentum), examples="statistics of the batch are over its examples"
        )

    stored = oracles.stored_normalization
    return [
        row("layer", oracles.layer_normalization),
        row("layer bare", oracles.layer_normalization, without_scale=True, without_bias=True),
        row("layer epsilon", lambda w, x: oracles.layer_normalization(w, x, 0.3), epsilon=0.3),
        row("rms", oracles.rms_normalization),
        row("rms bare epsilon", lambda w, x: oracles.rms_normalization(w, x, 0.2), epsilon=0.2, without_scale=True),
        row("group", oracles.group_normalization(2), ("a", "b", 4), groups=2),
        row("group instance", oracles.group_normalization(2), ("a", 2, 2, 2), groups=2),
        row("group epsilon", oracles.group_normalization(1, 0.4), ("a", 2, 2), groups=1, epsilon=0.4),
        row("batch training", oracles.batch_normalization, ("a", "b", 2), training=True, epsilon=0.01),
        row("batch momentum", oracles.batch_normalization, training=True, momentum=0.3, epsilon=0.01),
        row("batch inference", stored, ("a", "b", 2)),
        row("batch fixed", stored, training=True, fixed_statistics=True),
        row("batch inference epsilon", lambda w, x: stored(w, x, 0.5), epsilon=0.5, without_bias=True),
    ]


ROWS = [*_normalization()]

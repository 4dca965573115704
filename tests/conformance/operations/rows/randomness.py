"""Dropout, where it is the identity. What is drawn at random is held against its distribution in test_randomness.py."""

from __future__ import annotations

from gradserve.v1 import network_pb2
from tests.conformance.operations.rows.row import Row

ROWS = [
    Row("dropout in inference", "dropout", network_pb2.Dropout(rate=0.5), (("a", "b"),), lambda w, x: x),
    Row(
        "dropout of nothing",
        "dropout",
        network_pb2.Dropout(rate=0.0),
        (("a", "b"),),
        lambda w, x: x,
        training=True,
    ),
]

"""Attention and recurrence."""

from __future__ import annotations

from typing import Any

from gradserve.v1 import network_pb2
from tests.conformance.operations import oracles
from tests.conformance.operations.rows.row import Row, Sizes

# One form each but for the first: these programs are the longest to compile.
SELF: tuple[Sizes, ...] = ((2, 3, 2),)
CROSS: tuple[Sizes, ...] = ((2, 2, 2), (2, 3, 3))


def _attention() -> list[Row]:
    def row(name: str, shapes: tuple[Sizes, ...] = SELF, mask: Sizes = (), kind: str = "boolean", **fields: Any) -> Row:
        kinds = ("real",) * len(shapes)
        if mask:
            fields["mask"], shapes, kinds = f"x{len(shapes)}", (*shapes, mask), (*kinds, kind)
        message = network_pb2.Attention(heads=2, **fields)
        cross = len(shapes) - bool(mask) == 2
        oracle = oracles.attention(causal=message.causal, base=message.rotary_base, cross=cross)
        return Row(f"attention {name}", "attention", message, shapes, oracle, kinds)

    return [
        row("plain", (("b", "l", 4),)),
        row("bare", without_bias=True, head_size=3),
        row("causal", causal=True, without_bias=True),
        row("grouped", key_value_heads=1, head_size=1),
        row("rotary", rotary_base=100.0, head_size=4, without_bias=True),
        row("rotary grouped causal", ((1, 3, 2),), rotary_base=10.0, key_value_heads=1, causal=True, head_size=2),
        row("cross", CROSS),
        row("cross causal", CROSS, causal=True, rotary_base=7.0, head_size=2, without_bias=True),
        row("masked keys", mask=(2, 3)),
        row("masked keys by integers", mask=(2, 3), kind="index:2"),
        row("masked scores", mask=(2, 3, 3), causal=True),
        row("masked scores of each head", mask=(2, 2, 3, 3)),
        row("masked scores of each grouped head", ((1, 3, 2),), (1, 2, 3, 3), key_value_heads=1),
        row("masked for all alike", mask=(1, 1, 1, 3)),
        row("cross masked", CROSS, (2, 2, 3), key_value_heads=1),
    ]


def _recurrent() -> list[Row]:
    def row(name: str, cell: str, mask: str = "", shape: Sizes = (2, 3, 2), units: int = 2, **fields: Any) -> Row:
        message = network_pb2.Recurrent(
            cell=network_pb2.Recurrent.Cell.Value(f"CELL_{cell}"), units=units, mask="x1" if mask else "", **fields
        )
        oracle = oracles.recurrent(cell, message.bidirectional, message.last_only)
        shapes = (shape, shape[:2]) if mask else (shape,)
        return Row(f"recurrent {name}", "recurrent", message, shapes, oracle, ("real", mask)[: len(shapes)])

    return [
        row("simple", "SIMPLE"),
        row("simple widens", "SIMPLE", units=3, shape=("b", "l", 1)),
        row("simple last masked", "SIMPLE", "boolean", last_only=True),
        row("simple of both directions", "SIMPLE", bidirectional=True, units=1),
        row("lstm", "LSTM"),
        row("lstm last", "LSTM", last_only=True, units=1),
        row("lstm masked", "LSTM", "index:2"),
        row("lstm of both directions, last", "LSTM", "boolean", bidirectional=True, last_only=True, units=1),
        row("gru", "GRU"),
        row("gru masked", "GRU", "boolean"),
        row("gru of both directions", "GRU", "boolean", bidirectional=True, units=1),
    ]


ROWS = [*_attention(), *_recurrent()]

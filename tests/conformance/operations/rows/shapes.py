"""What moves elements."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gradserve.v1 import network_pb2
from tests.conformance.operations.oracles import Array
from tests.conformance.operations.rows.row import Row, Sizes

_PADDED = "their axis gets places that are no examples"


def _shapes() -> list[Row]:
    def row(
        name: str, operation: str, message: Any, shapes: tuple[Sizes, ...], oracle: Callable[..., Array], **fields: Any
    ) -> Row:
        return Row(f"{operation} {name}", operation, message, shapes, lambda w, *x: oracle(*x), **fields)

    reshape, transpose, cut = network_pb2.Reshape, network_pb2.Transpose, network_pb2.Slice
    join, named, pad = network_pb2.Concatenate, network_pb2.Rearrange, network_pb2.Pad
    return [
        row("joins", "reshape", reshape(shape=[0, -1]), (("a", 2, 3),), lambda x: x.reshape(len(x), 6)),
        row(
            "splits",
            "reshape",
            reshape(shape=[2, -1, 0]),
            (("a", 4, 3),),
            lambda x: x.reshape(2, -1, 3),
            examples="parts of an example are joined with others",
        ),
        row("scalar", "reshape", reshape(), ((1, 1),), lambda x: x.reshape(()), examples=None),
        row(
            "named",
            "transpose",
            transpose(axes=[-1, 0, 1]),
            (("a", "b", 2),),
            lambda x: x.transpose(2, 0, 1),
            examples=1,
        ),
        row("reversed", "transpose", transpose(), (("a", "b", 2),), lambda x: x.T, examples=2),
        row("three", "concatenate", join(axis=-1), (("a", 2), ("a", "b"), ("a", 1)), lambda *x: np.concatenate(x, -1)),
        row(
            "front",
            "concatenate",
            join(axis=0),
            (("a", 2), ("b", 2)),
            lambda *x: np.concatenate(x),
            examples="their axis is joined with another",
        ),
        row("steps", "slice", cut(axis=1, start=1, stop=-1, step=2), (("a", 5),), lambda x: x[:, 1:-1:2]),
        row("end", "slice", cut(axis=-1, start=-2), (("a", 3),), lambda x: x[:, -2:]),
        row(
            "splits and moves",
            "rearrange",
            named(pattern="b (h w) c -> b c w h", sizes={"h": 2}),
            (("a", 4, "b"),),
            lambda x: x.reshape(len(x), 2, 2, -1).transpose(0, 3, 2, 1),
        ),
        row(
            "keeps the shape",
            "rearrange",
            named(pattern="a (b c) -> a (c b)", sizes={"b": 3, "c": 2}),
            (("a", 6),),
            lambda x: x.reshape(-1, 3, 2).swapaxes(1, 2).reshape(-1, 6),
        ),
        row(
            "joins",
            "rearrange",
            named(pattern="a b c -> (c a) b"),
            (("a", "b", 2),),
            lambda x: x.transpose(2, 0, 1).reshape(-1, x.shape[1]),
        ),
        row(
            "adds and drops axes",
            "rearrange",
            named(pattern="a 1 b -> b 1 new a", sizes={"new": 3}),
            (("a", 1, "b"),),
            lambda x: np.repeat(x.transpose(2, 1, 0)[:, :, None], 3, 2),
            examples=3,
        ),
        row(
            "leaves axes in front as they are",
            "rearrange",
            named(pattern="... a b -> ... (b a)"),
            (("a", 2, "b", 3),),
            lambda x: x.swapaxes(2, 3).reshape(*x.shape[:2], -1),
        ),
        row(
            "edges",
            "pad",
            pad(low=[0, 2], high=[1, 0], value=-1.5),
            (("a", "b"),),
            lambda x: np.pad(x, ((0, 1), (2, 0)), constant_values=-1.5),
            examples=_PADDED,
        ),
        row(
            "crops",
            "pad",
            pad(low=[-1, 1], high=[2, -2], value=0.5),
            ((3, 4),),
            lambda x: np.pad(x, ((0, 2), (1, 0)), constant_values=0.5)[1:, :-2],
            examples=_PADDED,
        ),
        row(
            "shifts",
            "pad",
            pad(low=[1], high=[-1]),
            (("a",),),
            lambda x: np.append(0.0, x[:-1]),
            least=2,
            examples=_PADDED,
        ),
        row("high alone", "pad", pad(high=[1]), (("a",),), lambda x: np.append(x, 0.0), examples=_PADDED),
    ]


ROWS = [*_shapes()]

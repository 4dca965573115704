"""The table: for each operation, attributes that lead through it, and what NumPy makes of the same numbers.

A new operation is a new row.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from gradserve.v1 import network_pb2, tensor_pb2
from tests.conformance.operations import oracles
from tests.conformance.operations.oracles import Array, Geometry

Sizes = tuple[int | str, ...]


@dataclasses.dataclass(frozen=True)
class Row:
    """One operation with one set of attributes.

    Attributes:
        name: of the test.
        operation: the operation.
        attributes: its message.
        shapes: of the inputs; a letter is a size that hypothesis draws.
        oracle: parameters and statistics by their last names, and inputs, to the output.
        kinds: of the numbers of each input: real, positive, boolean, or index:<n> for integers below n.
        least: the smallest size of any letter.
        training: whether the pass is in training mode.
        flat: whether the gradient is zero by definition and not by the numbers.
    """

    name: str
    operation: str
    attributes: Any
    shapes: tuple[Sizes, ...]
    oracle: Callable[..., Array]
    kinds: tuple[str, ...] = ()
    least: int = 1
    training: bool = False
    flat: bool = False

    def kind(self, index: int) -> str:
        return self.kinds[index] if self.kinds else "real"


def _elementwise() -> list[Row]:
    positive = {"LOG", "SQRT", "LOG1P", "LOG_GAMMA", "RSQRT"}
    wide = {"SOFTMAX": ("a", 3), "LOG_SOFTMAX": (3, "a")}

    def row(name: str, oracle: Callable[[Array], Array], suffix: str = "", **fields: Any) -> Row:
        function = network_pb2.Elementwise.Function.Value(f"FUNCTION_{name}")
        return Row(
            f"elementwise {name.lower()}{suffix}",
            "elementwise",
            network_pb2.Elementwise(function=function, **fields),
            (wide.get(name, ("a", "b")),),
            lambda w, x: oracle(x),
            ("boolean" if name == "NOT" else "positive" if name in positive else "real",),
            flat=name == "STOP_GRADIENT",
        )

    return [
        *(row(name, oracle) for name, oracle in oracles.ELEMENTWISE.items()),
        row("SOFTMAX", lambda x: oracles.softmax(x, 0), " axis", axis=-2),
        row("LOG_SOFTMAX", lambda x: np.log(oracles.softmax(x, 0)), " axis", axis=0),
        row("LEAKY_RELU", lambda x: np.where(x > 0, x, 0.01 * x)),
        row("LEAKY_RELU", lambda x: np.where(x > 0, x, 0.3 * x), " alpha", alpha=0.3),
        row("ELU", lambda x: np.where(x > 0, x, np.exp(x) - 1)),
        row("ELU", lambda x: np.where(x > 0, x, 0.7 * (np.exp(x) - 1)), " alpha", alpha=0.7),
    ]


def _arithmetic() -> list[Row]:
    def row(
        name: str, oracle: Callable[..., Array], shapes: tuple[Sizes, ...] = (("a", "b"), ("b",)), kind: str = "real"
    ) -> Row:
        function = network_pb2.Arithmetic.Function.Value(f"FUNCTION_{name}")
        message = network_pb2.Arithmetic(function=function)
        kinds = (kind,) * len(shapes)
        return Row(f"arithmetic {name.lower()}", "arithmetic", message, shapes, lambda w, *x: oracle(*x), kinds)

    return [
        row("ADD", lambda a, b, c: a + b + c, (("a", "b"), ("b",), ())),
        row("SUBTRACT", np.subtract),
        row("MULTIPLY", lambda a, b, c: a * b * c, (("a", "b"), (1, "b"), ("a", 1))),
        row("DIVIDE", np.divide, kind="positive"),
        row("POWER", np.power, kind="positive"),
        row("MAXIMUM", lambda a, b, c: np.maximum(np.maximum(a, b), c), (("a", "b"), ("a", "b"), ("b",))),
        row("MINIMUM", np.minimum),
        row("MATMUL", np.matmul, (("n", "a", "b"), ("b", "c"))),
    ]


def _window(geometry: Geometry) -> network_pb2.Window:
    message = network_pb2.Window(size=geometry.size, stride=geometry.stride, dilation=geometry.dilation)
    message.padding = network_pb2.Window.PADDING_SAME if geometry.same else network_pb2.Window.PADDING_VALID
    return message


def _convolution() -> list[Row]:
    def row(name: str, shape: Sizes, geometry: Geometry, filters: int, groups: int = 0, **fields: Any) -> Row:
        message = network_pb2.Convolution(filters=filters, window=_window(geometry), groups=groups, **fields)
        turned = fields.get("transposed", False)
        oracle = oracles.transposed(geometry) if turned else oracles.convolution(geometry, groups or 1)
        return Row(f"convolution {name}", "convolution", message, (shape,), oracle, least=3)

    def turned(name: str, shape: Sizes, geometry: Geometry) -> Row:
        return dataclasses.replace(row(name, shape, geometry, 2, transposed=True), least=1)

    return [
        row("1d same keeps the shape", (1, "a", 2), Geometry([3], same=True), 2),
        row("1d strided", (2, "a", 1), Geometry([2], [2]), 2, without_bias=True),
        row("1d even same strided", (1, "a", 2), Geometry([4], [3], same=True), 1),
        row("2d", (1, "a", "b", 2), Geometry([2, 3]), 2),
        row("2d groups", (1, "a", 3, 4), Geometry([2, 1], [1, 2], same=True), 2, 2),
        row("2d depthwise dilated", (1, "a", 3, 2), Geometry([2, 2], dilation=[2, 1], same=True), 4, 2),
        row("3d", (1, "a", 3, 2, 1), Geometry([2, 2, 1], [1, 2, 1], [2, 1, 1]), 2),
        turned("transposed same", (1, "a", 2), Geometry([3], [2], same=True)),
        turned("transposed sparse", (1, "a", 2), Geometry([2], [3], same=True)),
        turned("transposed valid", (1, "a", 2, 1), Geometry([3, 2], [2, 3])),
        turned("transposed dilated", (1, "a", 1), Geometry([2], [2], [2], same=True)),
    ]


def _pooling() -> list[Row]:
    functions = {True: network_pb2.Pooling.FUNCTION_MAX, False: network_pb2.Pooling.FUNCTION_MEAN}

    def row(name: str, shape: Sizes, geometry: Geometry, largest: bool) -> Row:
        message = network_pb2.Pooling(function=functions[largest], window=_window(geometry))
        label = f"pooling {'max' if largest else 'mean'} {name}"
        return Row(label, "pooling", message, (shape,), oracles.pooling(geometry, largest), least=3)

    def whole(largest: bool) -> Row:
        message = network_pb2.Pooling(function=functions[largest])
        reduction = np.max if largest else np.mean
        label = f"pooling {'max' if largest else 'mean'} of all"
        return Row(label, "pooling", message, ((2, "a", "b", 2),), lambda w, x: reduction(x, (1, 2)))

    def default(largest: bool) -> Row:
        message = network_pb2.Pooling(function=functions[largest], window=network_pb2.Window(size=[2]))
        label = f"pooling {'max' if largest else 'mean'} steps by its size"
        return Row(label, "pooling", message, ((1, "a", 2),), oracles.pooling(Geometry([2], [2]), largest), least=3)

    return [
        made
        for largest in (True, False)
        for made in (
            whole(largest),
            default(largest),
            row("1d same keeps the shape", (1, "a", 2), Geometry([3], [1], same=True), largest),
            row("2d same strided", (1, "a", "b", 2), Geometry([2, 3], [2, 2], same=True), largest),
            row("2d dilated", (1, "a", 4, 1), Geometry([2, 2], [1, 2], [2, 1], same=True), largest),
            row("3d", (1, "a", 2, 2, 1), Geometry([2, 1, 2], [1, 1, 1]), largest),
        )
    ]


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


def _reduce() -> list[Row]:
    functions: dict[str, Callable[..., Array]] = {
        "SUM": lambda x, axes, keep: np.sum(x, axis=axes, keepdims=keep),
        "MEAN": lambda x, axes, keep: np.mean(x, axis=axes, keepdims=keep),
        "MAX": lambda x, axes, keep: np.max(x, axis=axes, keepdims=keep),
        "MIN": lambda x, axes, keep: np.min(x, axis=axes, keepdims=keep),
        "LOG_SUM_EXP": oracles.log_sum_exp,
    }

    def row(name: str, axes: Sequence[int], keep: bool) -> Row:
        message = network_pb2.Reduce(
            function=network_pb2.Reduce.Function.Value(f"FUNCTION_{name}"), axes=axes, keep_axes=keep
        )
        given = tuple(axes) or None
        label = f"reduce {name.lower()} {list(axes) or 'all'}{' keeps axes' if keep else ''}"
        return Row(label, "reduce", message, (("a", "b", 2),), lambda w, x: np.asarray(functions[name](x, given, keep)))

    return [row(name, axes, keep) for name in functions for axes, keep in (([], False), ([-1, 0], True))]


def _shapes() -> list[Row]:
    def row(name: str, operation: str, message: Any, shapes: tuple[Sizes, ...], oracle: Callable[..., Array]) -> Row:
        return Row(f"{operation} {name}", operation, message, shapes, lambda w, *x: oracle(*x))

    reshape, transpose, cut = network_pb2.Reshape, network_pb2.Transpose, network_pb2.Slice
    join = network_pb2.Concatenate
    return [
        row("joins", "reshape", reshape(shape=[0, -1]), (("a", 2, 3),), lambda x: x.reshape(len(x), 6)),
        row("splits", "reshape", reshape(shape=[2, -1, 0]), (("a", 4, 3),), lambda x: x.reshape(2, -1, 3)),
        row("scalar", "reshape", reshape(), ((1, 1),), lambda x: x.reshape(())),
        row("named", "transpose", transpose(axes=[-1, 0, 1]), (("a", "b", 2),), lambda x: x.transpose(2, 0, 1)),
        row("reversed", "transpose", transpose(), (("a", "b", 2),), lambda x: x.T),
        row("three", "concatenate", join(axis=-1), (("a", 2), ("a", "b"), ("a", 1)), lambda *x: np.concatenate(x, -1)),
        row("front", "concatenate", join(axis=0), (("a", 2), ("b", 2)), lambda *x: np.concatenate(x)),
        row("steps", "slice", cut(axis=1, start=1, stop=-1, step=2), (("a", 5),), lambda x: x[:, 1:-1:2]),
        row("end", "slice", cut(axis=-1, start=-2), (("a", 3),), lambda x: x[:, -2:]),
    ]


def _choice() -> list[Row]:
    comparisons: dict[str, Callable[[Array, Array], Array]] = {
        "EQUAL": np.equal,
        "NOT_EQUAL": np.not_equal,
        "LESS": np.less,
        "LESS_OR_EQUAL": np.less_equal,
        "GREATER": np.greater,
        "GREATER_OR_EQUAL": np.greater_equal,
    }

    def compare(name: str) -> Row:
        message = network_pb2.Compare(function=network_pb2.Compare.Function.Value(f"FUNCTION_{name}"))
        # Small integers, so that some are equal.
        kinds = ("index:3", "index:3")
        return Row(
            f"compare {name.lower()}",
            "compare",
            message,
            ((4, "a"), ("a",)),
            lambda w, *x: comparisons[name](*x),
            kinds,
        )

    def gather(name: str, shapes: tuple[Sizes, ...], oracle: Callable[[Array, Array], Array], **fields: Any) -> Row:
        message = network_pb2.Gather(**fields)
        return Row(f"gather {name}", "gather", message, shapes, lambda w, *x: oracle(*x), ("real", "index:3"))

    def cast(name: str, kind: str, dtype: Any) -> Row:
        message = network_pb2.Cast(data_type=tensor_pb2.DataType.Value(f"DATA_TYPE_{name}"))
        return Row(
            f"cast {kind} to {name.lower()}", "cast", message, (("a", "b"),), lambda w, x: x.astype(dtype), (kind,)
        )

    return [
        *(compare(name) for name in comparisons),
        Row(
            "select",
            "select",
            network_pb2.Select(),
            (("a", 3), ("b", 1, 3), ("a", 1)),
            lambda w, *x: np.where(*x),
            ("boolean", "real", "real"),
        ),
        gather("rows", ((3, "a"), ("b", 2)), lambda x, i: x[i]),
        gather("columns", (("a", 3), ("b",)), lambda x, i: x[:, i], axis=-1),
        gather("aligned", (("a", 3), ("a", "b")), lambda x, i: np.take_along_axis(x, i, 1), axis=1, aligned=True),
        gather(
            "aligned, axis missing",
            (("a", 3, "b"), ("a", "b")),
            lambda x, i: np.take_along_axis(x, i[:, None], 1)[:, 0],
            axis=1,
            aligned=True,
        ),
        cast("FLOAT32", "index:9", np.float64),
        cast("INT16", "real", np.int16),
        cast("BOOL", "index:2", np.bool_),
        Row("range of a size", "range", network_pb2.Range(size=4), (), lambda w: np.arange(4, dtype=np.int32)),
        Row(
            "range of an axis",
            "range",
            network_pb2.Range(axis=-1),
            ((2, "a"),),
            lambda w, x: np.arange(x.shape[1], dtype=np.int32),
        ),
    ]


def _values() -> list[Row]:
    value = tensor_pb2.Tensor(
        data_type=tensor_pb2.DATA_TYPE_INT32, shape=[2], values=tensor_pb2.Tensor.Values(number=[3, -4])
    )
    return [
        Row("parameter", "parameter", network_pb2.Parameter(shape=[2, 3]), (), lambda w: w[""]),
        Row("constant number", "constant", network_pb2.Constant(number=2.5), (), lambda w: np.asarray(2.5)),
        Row(
            "constant tensor",
            "constant",
            network_pb2.Constant(value=value),
            (),
            lambda w: np.array([3, -4], np.int32),
        ),
        Row("dense keeps the shape", "dense", network_pb2.Dense(units=3), (("a", "b", 3),), oracles.dense),
        Row("dense bare", "dense", network_pb2.Dense(units=2, without_bias=True), (("a", 3),), oracles.dense),
        Row(
            "embedding",
            "embedding",
            network_pb2.Embedding(rows=4, features=3),
            (("a", "b"),),
            oracles.embedding,
            ("index:4",),
        ),
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


ROWS: Mapping[str, Row] = {
    row.name: row
    for row in (
        *_values(),
        *_elementwise(),
        *_arithmetic(),
        *_convolution(),
        *_pooling(),
        *_normalization(),
        *_reduce(),
        *_shapes(),
        *_choice(),
    )
}

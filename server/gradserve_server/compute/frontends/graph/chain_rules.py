"""What each operation of the graph adds to the gradients of what it takes: a row for each, as in `operations`."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any, Generic

import jax
import jax.numpy as jnp

from gradserve.v1 import network_pb2, tensor_pb2
from gradserve_server.common.tracing import Term
from gradserve_server.compute import calculus
from gradserve_server.compute.calculus import Rule, arithmetic, elementwise, layers, movement, sequences
from gradserve_server.compute.frontends.graph.call import Attributes, Call

Shape = tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Explained:
    """An operation as it was applied.

    Attributes:
        title: its name, or that of the function that it computes.
        rule: what flows back, by role.
        roles: of its inputs, in order; those of parameters are the last parts of their names.
        time_axis: axis along which it reads its first input step by step, from first to last; -1 where it does not.
    """

    title: str
    rule: Rule
    roles: tuple[str, ...] = ("x",)
    time_axis: int = -1


@dataclasses.dataclass(frozen=True)
class Applied(Generic[Attributes]):
    """What rules may look at.

    Attributes:
        call: the call of the operation.
        result: shape of what it gave.
    """

    call: Call[Attributes]
    result: Shape

    @property
    def attributes(self) -> Attributes:
        """The operation's message."""
        return self.call.attributes

    @property
    def operation(self) -> str:
        """Name of the operation."""
        return self.call.node.operation

    @property
    def shapes(self) -> list[Shape]:
        """Of its inputs."""
        return [() if isinstance(value, float) else value.shape for value in self.call.inputs]


def explain(call: Call[Any], value: jax.Array) -> tuple[Explained, tuple[Term, ...]]:
    """The operation that gave `value`, and its terms for inputs and parameters in order."""
    found = RULES[call.node.operation](Applied(call, value.shape))
    roles = (*found.roles, *(role for _, role in call.used))
    return found, calculus.bind(found.rule, roles)


def _numbered(count: int) -> tuple[str, ...]:
    return tuple(str(place) for place in range(count))


def _function(one: Applied[Any], enumeration: Any, field: str = "function") -> str:
    """The function that a node names, in small letters."""
    name: str = enumeration.Name(getattr(one.attributes, field))
    return name.partition("_")[2].lower()


def _dense(one: Applied[network_pb2.Dense]) -> Explained:
    scalars = math.prod(one.result) == math.prod(one.shapes[0]) == 1
    return Explained("dense", layers.dense(scalars=scalars))


def _convolution(one: Applied[network_pb2.Convolution]) -> Explained:
    transposed = one.attributes.transposed
    title = "transposed_convolution" if transposed else "convolution"
    return Explained(title, layers.convolution(transposed=transposed))


def _embedding(_: Applied[network_pb2.Embedding]) -> Explained:
    return Explained("embedding", layers.embedding(), ("indices",))


def _normalization(one: Applied[network_pb2.Normalization]) -> Explained:
    attributes = one.attributes
    kind = _function(one, network_pb2.Normalization.Kind, "kind")
    epsilon = attributes.epsilon if attributes.HasField("epsilon") else 1e-5
    fixed = kind == "batch" and (attributes.fixed_statistics or not one.call.training)
    rule = layers.normalization(kind, epsilon, scale=not attributes.without_scale, fixed=fixed)
    return Explained(f"{kind}_normalization", rule)


def _attention(one: Applied[network_pb2.Attention]) -> Explained:
    roles = ["x", "context", "mask"][: len(one.shapes)]
    if one.attributes.mask:
        roles[-1] = "mask"
    cross = "context" in roles
    return Explained(
        "attention", sequences.attention(cross=cross, rotary=bool(one.attributes.rotary_base)), tuple(roles)
    )


def _recurrent(one: Applied[network_pb2.Recurrent]) -> Explained:
    cell = _function(one, network_pb2.Recurrent.Cell, "cell")
    prefixes = ("forward/", "backward/") if one.attributes.bidirectional else ("",)
    title = "recurrent" if cell == "simple" else cell
    # Of what reads from both ends, gradients fade towards both.
    time_axis = -1 if one.attributes.bidirectional else 1
    rule = sequences.recurrent(cell, prefixes=prefixes)
    return Explained(title, rule, ("x", "mask")[: len(one.shapes)], time_axis)


def _elementwise(one: Applied[network_pb2.Elementwise]) -> Explained:
    function = _function(one, network_pb2.Elementwise.Function)
    alpha = {"leaky_relu": 0.01, "elu": 1.0}.get(function, 0.0)
    if one.attributes.HasField("alpha"):
        alpha = one.attributes.alpha
    axis = one.attributes.axis if one.attributes.HasField("axis") else -1
    return Explained(function, elementwise.elementwise(function, alpha=alpha, axis=axis))


def _arithmetic(one: Applied[network_pb2.Arithmetic]) -> Explained:
    function = _function(one, network_pb2.Arithmetic.Function)
    rule = arithmetic.arithmetic(function, one.shapes, one.result)
    return Explained(function, rule, _numbered(len(one.shapes)))


def _pooling(one: Applied[network_pb2.Pooling]) -> Explained:
    function = _function(one, network_pb2.Pooling.Function)
    everything = not one.attributes.HasField("window")
    size = one.shapes[0][1:-1] if everything else one.attributes.window.size
    prefix = "global_" if everything else ""
    rule = layers.pooling(function, everything=everything, elements=math.prod(size))
    return Explained(f"{prefix}{function}_pooling", rule)


def _dropout(one: Applied[network_pb2.Dropout]) -> Explained:
    rate = one.attributes.rate
    return Explained("dropout", elementwise.dropout(rate, active=one.call.training and rate > 0))


def _reduce(one: Applied[network_pb2.Reduce]) -> Explained:
    function = _function(one, network_pb2.Reduce.Function)
    return Explained(f"reduce_{function}", arithmetic.reduction(function, one.shapes[0], one.result))


def _moved(how: str) -> Callable[[Applied[Any]], Explained]:
    def explained(one: Applied[Any]) -> Explained:
        return Explained(one.operation, movement.moved(one.shapes[0], one.result, how))

    return explained


def _concatenate(one: Applied[network_pb2.Concatenate]) -> Explained:
    count = len(one.shapes)
    return Explained("concatenate", movement.concatenate(count, one.attributes.axis), _numbered(count))


def _einsum(one: Applied[network_pb2.Einsum]) -> Explained:
    left, _, right = one.attributes.equation.replace(" ", "").partition("->")
    return Explained("einsum", arithmetic.einsum(left.split(","), right), _numbered(len(one.shapes)))


def _gather(one: Applied[network_pb2.Gather]) -> Explained:
    rule = movement.gather(one.attributes.axis, aligned=one.attributes.aligned)
    return Explained("gather", rule, ("values", "indices"))


def _compare(one: Applied[network_pb2.Compare]) -> Explained:
    return Explained(_function(one, network_pb2.Compare.Function), movement.no_gradient(), _numbered(len(one.shapes)))


def _select(one: Applied[network_pb2.Select]) -> Explained:
    return Explained("select", movement.select(one.shapes, one.result), ("condition", "a", "b"))


def _cast(one: Applied[network_pb2.Cast]) -> Explained:
    value = one.call.inputs[0]
    from_floating = isinstance(value, float) or bool(jnp.issubdtype(value.dtype, jnp.floating))
    to_floating = "FLOAT" in tensor_pb2.DataType.Name(one.attributes.data_type)
    return Explained("cast", elementwise.cast(floating=from_floating and to_floating))


def _without_gradient(one: Applied[Any]) -> Explained:
    return Explained(one.operation, movement.no_gradient(), _numbered(len(one.shapes)))


def _top_k(one: Applied[network_pb2.TopK]) -> Explained:
    return Explained("top_k", movement.top_k(indices=one.attributes.indices))


def _cumulative(one: Applied[network_pb2.Cumulative]) -> Explained:
    function = _function(one, network_pb2.Cumulative.Function)
    rule = arithmetic.cumulative(function, one.attributes.axis, reverse=one.attributes.reverse)
    return Explained(f"cumulative_{function}", rule)


def _tangent(one: Applied[network_pb2.Tangent]) -> Explained:
    block = one.attributes.of
    directions = _numbered(len(one.shapes))
    along = Term(f"{{d}} times the derivative of {block} along it")
    twice = Term(f"{{d}} times the second derivative of {block}, once along the directions")
    return Explained("tangent", {**dict.fromkeys(directions, along), "point": twice}, directions)


RULES: Mapping[str, Callable[[Applied[Any]], Explained]] = {
    "parameter": _without_gradient,
    "constant": _without_gradient,
    "dense": _dense,
    "convolution": _convolution,
    "embedding": _embedding,
    "normalization": _normalization,
    "attention": _attention,
    "recurrent": _recurrent,
    "elementwise": _elementwise,
    "arithmetic": _arithmetic,
    "pooling": _pooling,
    "dropout": _dropout,
    "reduce": _reduce,
    "reshape": _moved("in the shape that it had"),
    "transpose": _moved("with the axes where they were"),
    "concatenate": _concatenate,
    "slice": _moved("at the elements that were taken, 0 elsewhere"),
    "einsum": _einsum,
    "gather": _gather,
    "compare": _compare,
    "select": _select,
    "cast": _cast,
    "range": _without_gradient,
    "top_k": _top_k,
    "random": _without_gradient,
    "cumulative": _cumulative,
    "pad": _moved("without the edges"),
    "rearrange": _moved("rearranged back, repeats added up"),
    "tangent": _tangent,
}

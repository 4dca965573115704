"""The walk over nodes: each gets its inputs, what it resolves to runs, its outputs get their names."""

from __future__ import annotations

import dataclasses
import math
from collections import ChainMap
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.errors import JAXTypeError

from gradserve_server.common.errors import Problem, Reason, ValuesNeeded, shorten
from gradserve_server.compute.frontends.onnx import bounds
from gradserve_server.compute.frontends.onnx.call import Call, StaticNeeded, form, to_jax
from gradserve_server.compute.frontends.onnx.definition import Function, Graph, Node
from gradserve_server.compute.frontends.onnx.frame import Frame
from gradserve_server.compute.frontends.onnx.resolution import resolve
from gradserve_server.compute.frontends.onnx.table import Operator, Value
from gradserve_server.compute.precision import is_half

# Operators that lose too much in 16 bits, or overflow.
_WIDE = frozenset(
    {
        "BatchNormalization",
        "GroupNormalization",
        "InstanceNormalization",
        "LRN",
        "LayerNormalization",
        "LogSoftmax",
        "LpNormalization",
        "MeanVarianceNormalization",
        "NegativeLogLikelihoodLoss",
        "RMSNormalization",
        "ReduceL2",
        "ReduceLogSum",
        "ReduceLogSumExp",
        "ReduceSumSquare",
        "Softmax",
        "SoftmaxCrossEntropyLoss",
    }
)


def run_nodes(nodes: Sequence[Node], frame: Frame) -> None:
    """Evaluates `nodes` in order; their outputs are added to the frame's values."""
    for node in nodes:
        inputs = tuple(_look_up(name, frame) for name in node.inputs)
        outputs = _evaluate(node, inputs, frame)
        if frame.shown is not None:
            outputs = frame.shown.node(node, frame.path(node), frame.values, outputs)
        for name, value in zip(node.outputs, outputs, strict=False):
            if name:
                frame.values[name] = value


def run_graph(
    graph: Graph,
    inputs: Sequence[Value],
    frame: Frame,
    *,
    prefix: str = "",
    initializers: Mapping[str, Value] = {},
) -> list[Value]:
    """Outputs of a graph inside of `frame`.

    Args:
        graph: the graph.
        inputs: values of its inputs, in order.
        frame: what encloses it.
        prefix: of the paths of its nodes, added to the frame's.
        initializers: values in place of the graph's own.
    """
    own = {name: initializers.get(name, frame.constant(array)) for name, array in graph.initializers.items()}
    own |= dict(zip(graph.inputs, inputs, strict=True))
    inner = dataclasses.replace(frame, values=ChainMap(own, frame.values), prefix=frame.prefix + prefix)
    run_nodes(graph.nodes, inner)
    return [inner.values[name] for name in graph.outputs]


def _look_up(name: str, frame: Frame) -> Value | None:
    return frame.values[name] if name else None


def _evaluate(node: Node, inputs: tuple[Value, ...], frame: Frame) -> list[Value]:
    frame.count(node)
    meaning = resolve(node, frame.model, frame.opsets)
    attributes = dict(node.attributes)
    for name, outer in node.references.items():
        if outer in frame.attributes:
            attributes[name] = frame.attributes[outer]
    try:
        with jax.named_scope(node.name):
            assert meaning is not None, "check_supported has seen it"
            if is_half(frame.single) and node.operator in _WIDE and not node.domain:
                return _run_wide(meaning, node, attributes, inputs, frame)
            return _run(meaning, node, attributes, inputs, frame)
    except (StaticNeeded, ValuesNeeded):
        raise
    except Problem as problem:
        raise problem.at(node=frame.path(node), field="network") from None
    except jax.errors.InconclusiveDimensionOperation as error:
        raise Problem(
            Reason.INVALID_NODE,
            f"its shape cannot be known from the names of dimensions alone ({_first_line(error)})",
            field="network",
            node=frame.path(node),
            hint="Declare sizes instead of names, or give `dimensions`.",
        ) from error
    except (
        TypeError,
        ValueError,
        ArithmeticError,
        LookupError,
        NotImplementedError,
        AttributeError,
        JAXTypeError,
    ) as error:
        # What an operator did not foresee is still its caller's input: JAX says what does not fit.
        raise Problem(
            Reason.INVALID_NODE,
            f"the operator {node.operator} does not take this ({_first_line(error)})",
            field="network",
            node=frame.path(node),
            given=", ".join(form(value) for value in inputs) or "no inputs",
        ) from error


def _run(
    meaning: Operator | Function,
    node: Node,
    attributes: Mapping[str, Any],
    inputs: tuple[Value, ...],
    frame: Frame,
) -> list[Value]:
    call = _call_function if isinstance(meaning, Function) else _apply
    return call(meaning, node, attributes, inputs, frame)  # type: ignore[arg-type]


def _run_wide(
    meaning: Operator | Function,
    node: Node,
    attributes: Mapping[str, Any],
    inputs: tuple[Value, ...],
    frame: Frame,
) -> list[Value]:
    """As `_run`, with the model's float32 as it is where it otherwise stands for 16 bits."""
    single, wide = frame.single, np.dtype(np.float32)

    def cast(value: Value, before: Any, after: Any) -> Value:
        return value.astype(after) if getattr(value, "dtype", None) == before else value

    given = tuple(cast(value, single, wide) for value in inputs)
    outputs = _run(meaning, node, attributes, given, dataclasses.replace(frame, single=wide))
    return [cast(value, wide, single) for value in outputs]


def _apply(
    row: Operator, node: Node, attributes: Mapping[str, Any], inputs: tuple[Value, ...], frame: Frame
) -> list[Value]:
    folds = row.folds and _fold(inputs)
    call = Call(node, row.since_version, attributes, inputs, frame, np if folds else jnp)
    with np.errstate(all="ignore"):
        result = row.function(call)
    outputs = list(result) if isinstance(result, list) else [result]
    for index, value in enumerate(outputs):
        if folds and isinstance(value, (np.generic, int, float, bool)):
            outputs[index] = np.asarray(value)
        if not isinstance(value, tuple) and value is not None:
            frame.check_elements(np.shape(value) if isinstance(value, (int, float)) else value.shape, node)
    return outputs


def _fold(inputs: tuple[Value, ...]) -> bool:
    """Whether all inputs are known, and small enough that no operator makes something large of them.

    Two inputs can make the product of their sizes (an outer product, rows picked from a table), and several that are
    broadcast can make more.
    """
    known = [value for value in inputs if value is not None]
    if not all(isinstance(value, np.ndarray) and value.size <= bounds.FOLDED_ELEMENTS for value in known):
        return False
    first, second = (*sorted((value.size for value in known), reverse=True), 1, 1)[:2]
    if first * second > bounds.FOLDED_RESULT_ELEMENTS:
        return False
    try:
        broadcast = np.broadcast_shapes(*(value.shape for value in known))
    except ValueError:
        return True
    return math.prod(broadcast) <= bounds.FOLDED_RESULT_ELEMENTS


def _call_function(
    function: Function, node: Node, attributes: Mapping[str, Any], inputs: tuple[Value, ...], frame: Frame
) -> list[Value]:
    if len(inputs) > len(function.inputs):
        raise Problem(
            Reason.INVALID_NODE,
            "more inputs than the function has",
            given=str(len(inputs)),
            expected=str(len(function.inputs)),
        )
    padded = (*inputs, *(None for _ in range(len(function.inputs) - len(inputs))))
    inner = dataclasses.replace(
        frame,
        opsets=function.opsets,
        values=dict(zip(function.inputs, padded, strict=True)),
        attributes={**function.defaults, **attributes},
        prefix=f"{frame.path(node)}/",
    )
    run_nodes(function.nodes, inner)
    return [inner.values[name] for name in function.outputs]


def _first_line(error: Exception) -> str:
    return shorten((str(error) or type(error).__name__).strip().splitlines()[0], 200)


def as_output(value: Value) -> jax.Array:
    """A value as an output of the network."""
    if value is None or isinstance(value, tuple):
        raise Problem(
            Reason.UNSUPPORTED_OPERATION,
            "an output of the network is no tensor",
            field="network",
            given=form(value),
        )
    return to_jax(value)

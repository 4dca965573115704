"""The walk over a graph: each node gets its inputs, its operation runs, its result gets its name."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
from jax.errors import InconclusiveDimensionOperation, JAXTypeError

from gradserve_server.common.errors import Problem, Reason, near
from gradserve_server.compute.frontends.graph.call import AppliedBlock, Call, Value, as_array, form
from gradserve_server.compute.frontends.graph.definition import Graph, Node
from gradserve_server.compute.frontends.graph.entry import Entry
from gradserve_server.compute.frontends.graph.scope import Scope
from gradserve_server.compute.frontends.graph.table import OPERATIONS, Operation


def walk(graph: Graph, inputs: Mapping[str, Entry], scope: Scope) -> dict[str, Entry]:
    """Outputs of `graph` by name."""
    entries = dict(inputs)
    blocks: dict[str, AppliedBlock] = {}
    for node in graph.nodes:
        arguments = [_resolve(node, index, reference, entries, scope) for index, reference in enumerate(node.inputs)]
        try:
            if node.body is not None:
                outputs = _block(node, node.body, arguments, scope)
                entries |= {f"{node.name}/{name}": entry for name, entry in outputs.items()}
                first = next(iter(outputs.values()))
                entries[node.name] = _shown(node, first.value, False, [first], scope)
                blocks[node.name] = _applied(node, node.body, arguments, scope)
            else:
                operation = OPERATIONS[node.operation]
                _check_count(node, operation, arguments)
                call: Call[Any] = Call(
                    node,
                    node.attributes,
                    tuple(entry.value for entry in arguments),
                    tuple(entry.direct for entry in arguments),
                    scope,
                    blocks,
                )
                # So that what is found out about the program later can be told of the node.
                with jax.named_scope(node.path):
                    value = operation.function(call)
                _check_size(node, value, scope)
                direct = operation.moves_only and arguments[0].direct
                entries[node.name] = _shown(node, value, direct, arguments, scope, call)
        except Problem as problem:
            raise problem.at(node=node.path, field=node.field) from None
        except InconclusiveDimensionOperation as error:
            raise Problem(
                Reason.INVALID_NODE,
                f"its shape cannot be known from the names of dimensions alone ({_first_line(error)})",
                field=node.field,
                node=node.path,
                hint="Declare sizes instead of names, or give `dimensions`.",
            ) from error
        except (
            TypeError,
            ValueError,
            ArithmeticError,
            LookupError,
            NotImplementedError,
            JAXTypeError,
        ) as error:
            # What an operation did not foresee is still its caller's input: JAX says what does not fit.
            raise Problem(
                Reason.INVALID_NODE,
                f"the operation '{node.operation}' does not take this ({_first_line(error)})",
                field=node.field,
                node=node.path,
                given=", ".join(form(entry.value) for entry in arguments) or "no inputs",
            ) from error
    return {name: entries[name] for name in graph.outputs}


def _shown(
    node: Node, value: Value, direct: bool, inputs: Sequence[Entry], scope: Scope, call: Call[Any] | None = None
) -> Entry:
    """The value under the node's name, after a tape has seen it."""
    value, key = scope.show(node, value, tuple(entry.key for entry in inputs), call)
    return Entry(value, direct, key)


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).strip().splitlines()[0]


def _resolve(node: Node, index: int, reference: str, entries: Mapping[str, Entry], scope: Scope) -> Entry:
    if reference in entries:
        return entries[reference]
    # A parameter of an earlier node, known under the path of that node's owner.
    prefix = node.owner.rpartition("/")[0] if not node.shares else node.path.rpartition("/")[0]
    path = f"{prefix}/{reference}" if prefix else reference
    parameter = scope.find_parameter(path)
    if parameter is not None:
        return Entry(parameter.astype(scope.context.dtype), False, path)
    raise Problem(
        Reason.UNKNOWN_REFERENCE,
        "it refers to what is not there",
        field=f"{node.field.rpartition('.')[0]}.inputs[{index}]",
        node=node.path,
        given=repr(reference),
        expected="an input, an earlier node, a parameter or an output of an earlier block",
        hint=near(reference, entries),
    )


def _check_count(node: Node, operation: Operation, arguments: list[Entry]) -> None:
    least, most = operation.inputs
    if least <= len(arguments) and (most is None or len(arguments) <= most):
        return
    expected = str(least) if most == least else f"at least {least}" if most is None else f"{least} to {most}"
    raise Problem(
        Reason.INVALID_NODE,
        "wrong number of inputs",
        field=f"{node.field.rpartition('.')[0]}.inputs",
        node=node.path,
        given=str(len(arguments)),
        expected=expected,
    )


def _check_size(node: Node, value: Value, scope: Scope) -> None:
    if isinstance(value, float) or not all(isinstance(size, int) for size in value.shape):
        return
    elements = math.prod(value.shape)
    if elements > scope.limits.elements:
        raise Problem(
            Reason.TOO_LARGE,
            "the result is too large",
            field=node.field,
            node=node.path,
            given=f"{form(value)}, {elements} elements",
            expected=f"at most {scope.limits.elements}",
        )


def _block(node: Node, body: Graph, arguments: list[Entry], scope: Scope) -> dict[str, Entry]:
    if len(arguments) != len(body.inputs):
        raise Problem(
            Reason.INVALID_NODE,
            "wrong number of inputs",
            field=f"{node.field.rpartition('.')[0]}.inputs",
            node=node.path,
            given=str(len(arguments)),
            expected=f"{len(body.inputs)}, as the body has",
        )
    names = [one.name for one in body.inputs]
    _check_declared(node, body, arguments)
    bound = dict(zip(names, arguments, strict=True))
    if not node.attributes.HasField("repeat"):
        return _arrays(walk(body, bound, scope), scope)
    if not names:
        raise Problem(
            Reason.INVALID_NODE,
            "a repeated block needs an input to feed its result to",
            field=node.field,
        )

    def turn(inner: Scope, carry: Entry) -> dict[str, Entry]:
        return _arrays(walk(body, bound | {names[0]: carry}, inner), inner)

    return scope.repeat(node, arguments[0], turn)


def _applied(node: Node, body: Graph, arguments: list[Entry], scope: Scope) -> AppliedBlock:
    def first_output(values: Sequence[Value]) -> jax.Array:
        given = [Entry(value, False, entry.key) for value, entry in zip(values, arguments, strict=True)]
        outputs = _block(node, body, given, scope.aside())
        return as_array(next(iter(outputs.values())).value, scope.context.dtype)

    names = [one.name for one in body.inputs]
    values = dict(zip(names, (entry.value for entry in arguments), strict=True))
    parameters = [path for path in scope.parameters if path.startswith(f"{node.owner}/")]
    return AppliedBlock(values, (*(entry.key for entry in arguments), *parameters), first_output)


def _arrays(outputs: Mapping[str, Entry], scope: Scope) -> dict[str, Entry]:
    return {
        name: dataclasses.replace(entry, value=as_array(entry.value, scope.context.dtype), direct=False)
        for name, entry in outputs.items()
    }


def _check_declared(node: Node, body: Graph, arguments: list[Entry]) -> None:
    """Holds what a body declares of its inputs against what it gets; equal names have equal sizes."""
    sizes: dict[str, Any] = {}
    for one, entry in zip(body.inputs, arguments, strict=True):
        if one.spec is None or isinstance(entry.value, float):
            continue
        array = entry.value
        wanted_float = jax.numpy.issubdtype(one.spec.dtype, jax.numpy.floating)
        same_type = (
            jax.numpy.issubdtype(array.dtype, jax.numpy.floating)
            if wanted_float
            else str(array.dtype) == one.spec.dtype
        )
        fits = same_type and len(array.shape) == len(one.spec.shape)
        fits = fits and all(
            sizes.setdefault(wanted, size) == size if isinstance(wanted, str) else size == wanted
            for size, wanted in zip(array.shape, one.spec.shape, strict=False)
        )
        if not fits:
            raise Problem(
                Reason.INVALID_NODE,
                f"the body's input '{one.name}' is declared otherwise",
                field=node.field,
                node=node.path,
                given=form(array),
                expected=str(one.spec),
            )

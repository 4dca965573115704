"""If, Loop and Scan: graphs within a graph."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradserve_server.common.errors import Problem
from gradserve_server.compute.frontends.onnx import bounds
from gradserve_server.compute.frontends.onnx.call import Call, StaticNeeded, to_jax
from gradserve_server.compute.frontends.onnx.definition import Graph
from gradserve_server.compute.frontends.onnx.evaluation import run_graph
from gradserve_server.compute.frontends.onnx.frame import Frame
from gradserve_server.compute.frontends.onnx.table import Value, operator
from gradserve_server.compute.network import Check

_VERSIONS = (1, 11, 13, 16, 19, 21, 23, 24, 25)


class _Varies(Exception):
    """A loop cannot be rolled: what it carries changes its shape, or a turn decides shapes."""


def _enclosed(frame: Frame) -> tuple[Frame, list[Check]]:
    """A frame whose checks are kept apart, since they must leave the traced body by hand."""
    checks: list[Check] = []
    return dataclasses.replace(frame, context=dataclasses.replace(frame.context, checks=checks), shown=None), checks


def _code(checks: Sequence[Check]) -> jax.Array:
    """0 if no check failed, else 1 more than the index of the first that did."""
    if not checks:
        return jnp.zeros((), jnp.int32)
    failed = jnp.stack([check.failed for check in checks])
    return jnp.where(jnp.any(failed), jnp.argmax(failed) + 1, 0).astype(jnp.int32)


def _leave(frame: Frame, problems: Sequence[Problem], code: jax.Array) -> None:
    """Enters the checks of a body, of which `code` says the first that failed, into those of its frame."""
    frame.context.checks.extend(Check(code == index + 1, problem) for index, problem in enumerate(problems))


def _truth(call: Call, value: Value, index: int) -> bool:
    if value.size != 1:
        raise call.refuse(f"input {index} should be one boolean")
    return bool(value.reshape(-1)[0])


def _tensors(values: Sequence[Value], call: Call) -> list[jax.Array]:
    if any(value is None or isinstance(value, tuple) for value in values):
        raise call.unsupported("sequences and optionals cannot leave a branch or a loop that is not known at tracing")
    return [to_jax(value) for value in values]


@operator("If", *_VERSIONS)
def if_(call: Call) -> Value:
    condition = call.inputs[0]
    branches: list[Graph] = [call.attribute("then_branch"), call.attribute("else_branch")]
    if isinstance(condition, np.ndarray):
        chosen = branches[0] if _truth(call, condition, 0) else branches[1]
        return run_graph(chosen, (), call.frame, prefix=f"{call.node.name}/")
    problems: list[list[Problem]] = [[], []]

    def branch(index: int) -> Any:
        def run() -> tuple[list[jax.Array], jax.Array]:
            frame, checks = _enclosed(call.frame)
            outputs = run_graph(branches[index], (), frame, prefix=f"{call.node.name}/")
            problems[index] = [check.problem for check in checks]
            code = _code(checks)
            return _tensors(outputs, call), code if index == 0 else -code

        return run

    try:
        outputs, code = jax.lax.cond(to_jax(condition).reshape(()), branch(0), branch(1))
    except TypeError:
        # The branches give different forms.
        raise StaticNeeded(call.node, 0) from None
    _leave(call.frame, problems[0], code)
    _leave(call.frame, problems[1], -code)
    return list(outputs)


@operator("Loop", *_VERSIONS)
def loop(call: Call) -> Value:
    body: Graph = call.attribute("body")
    turns, condition = ((*call.inputs, None, None)[:2])[:2]
    carried = list(call.inputs[2:])
    if len(body.inputs) != len(carried) + 2 or len(body.outputs) < len(carried) + 1:
        raise call.refuse("the body's inputs and outputs do not fit the node's")
    stacks = len(body.outputs) - 1 - len(carried)
    known_turns = _turns(turns)
    ends = condition is not None and isinstance(condition, np.ndarray) and not _truth(call, condition, 1)
    if ends:
        known_turns, condition = 0, None
    elif isinstance(condition, np.ndarray):
        condition = None
    if known_turns is not None and known_turns > 0 and call.node not in call.frame.unrolled and condition is None:
        try:
            return _rolled_loop(call, body, known_turns, carried)
        except (_Varies, StaticNeeded):
            if known_turns > bounds.UNROLLED_TURNS:
                raise call.unsupported(
                    f"a loop whose turns differ in their shapes can have at most {bounds.UNROLLED_TURNS} turns",
                    given=f"{known_turns} turns",
                ) from None
    if known_turns is not None and known_turns <= bounds.UNROLLED_TURNS and condition is None:
        return _unrolled_loop(call, body, known_turns, carried, stacks)
    if stacks:
        raise StaticNeeded(call.node, 0 if known_turns is None and turns is not None else 1)
    return _open_loop(call, body, turns, condition, carried)


def _turns(turns: Value) -> int | None:
    """The number of turns, if it is known and no mere stand-in for "for ever"."""
    if not isinstance(turns, np.ndarray) or turns.dtype == object:
        return None
    count = int(turns.reshape(-1)[0])
    return count if count < 1 << 31 else None


def _number(index: Any, like: Any = np.int64) -> np.ndarray[Any, Any]:
    return np.asarray(index, like)


_TRUE = np.asarray(True)


def _rolled_loop(call: Call, body: Graph, turns: int, carried: list[Value]) -> list[Value]:
    """A loop of a known number of turns as a scan; a condition that the data decides stops its effect."""
    problems: list[Problem] = []
    state = _tensors(carried, call)
    forms = [(one.shape, one.dtype) for one in state]
    may_end = False

    def turn(before: Any, number: jax.Array) -> Any:
        nonlocal may_end
        code, active, values = before
        frame, checks = _enclosed(call.frame)
        outputs = run_graph(body, [number, _TRUE, *values], frame, prefix=f"{call.node.name}/")
        problems[:] = [check.problem for check in checks]
        goes_on, after, stacks = outputs[0], outputs[1 : 1 + len(values)], outputs[1 + len(values) :]
        after = _tensors(after, call)
        if [(one.shape, one.dtype) for one in after] != forms:
            raise _Varies
        own = _code(checks)
        if isinstance(goes_on, np.ndarray) and _truth(call, goes_on, 1):
            return (jnp.where(code != 0, code, own), active, after), _tensors(stacks, call)
        if stacks or isinstance(goes_on, np.ndarray):
            raise _Varies
        may_end = True
        after = [jnp.where(active, new, old) for new, old in zip(after, values, strict=True)]
        code = jnp.where((code != 0) | ~active, code, own)
        return (code, active & to_jax(goes_on).reshape(()), after), []

    start = (jnp.zeros((), jnp.int32), jnp.asarray(True), state)
    (code, _, last), stacks = jax.lax.scan(turn, start, jnp.arange(turns, dtype=jnp.int64))
    _leave(call.frame, problems, code)
    return [*last, *stacks]


def _unrolled_loop(call: Call, body: Graph, turns: int, carried: list[Value], stacks: int) -> list[Value]:
    """Turn after turn, so that each may have shapes of its own."""
    gathered: list[list[Value]] = [[] for _ in range(stacks)]
    for number in range(turns):
        prefix = f"{call.node.name}/{number}/"
        outputs = run_graph(body, [_number(number), _TRUE, *carried], call.frame, prefix=prefix)
        carried = outputs[1 : 1 + len(carried)]
        for stack, value in zip(gathered, outputs[1 + len(carried) :], strict=True):
            stack.append(value)
        goes_on = outputs[0]
        if not isinstance(goes_on, np.ndarray):
            raise call.unsupported("whether the loop ends depends on data, and its shapes on the number of turns")
        if not _truth(call, goes_on, 1):
            break
    return [*carried, *(_stack(call, stack) for stack in gathered)]


def _stack(call: Call, values: list[Value]) -> Value:
    if not values:
        raise call.unsupported("a loop without turns has no form for its stacked outputs")
    if all(isinstance(value, np.ndarray) for value in values):
        return np.stack(values)
    return jnp.stack(_tensors(values, call))


def _open_loop(call: Call, body: Graph, turns: Value, condition: Value, carried: list[Value]) -> list[Value]:
    """A loop whose number of turns the data decides: no gradient can pass it backwards."""
    call.frame.irreversible.add(call.frame.path(call.node))
    problems: list[Problem] = []
    state = _tensors(carried, call)
    most = None if turns is None else to_jax(turns).reshape(()).astype(jnp.int64)

    def goes_on(now: Any) -> jax.Array:
        number, active, _, _ = now
        return jnp.asarray(active if most is None else active & (number < most))

    def turn(now: Any) -> Any:
        number, active, code, values = now
        frame, checks = _enclosed(call.frame)
        outputs = run_graph(body, [number, active, *values], frame, prefix=f"{call.node.name}/")
        problems[:] = [check.problem for check in checks]
        code = jnp.where(code != 0, code, _code(checks))
        return number + 1, to_jax(outputs[0]).reshape(()), code, _tensors(outputs[1:], call)

    active = jnp.asarray(True) if condition is None else to_jax(condition).reshape(())
    start = (jnp.zeros((), jnp.int64), active, jnp.zeros((), jnp.int32), state)
    try:
        _, _, code, last = jax.lax.while_loop(goes_on, turn, start)
    except TypeError as error:
        raise call.unsupported(
            f"a loop whose number of turns the data decides must keep its shapes ({str(error).splitlines()[0]})"
        ) from None
    _leave(call.frame, problems, code)
    return list(last)


@operator("Scan", 9, 11, 16, 19, 21, 23, 24, 25)
def scan(call: Call) -> Value:
    body: Graph = call.attribute("body")
    count = call.attribute("num_scan_inputs")
    return _scan(call, body, list(call.inputs[:-count]), list(call.inputs[len(call.inputs) - count :]))


@operator("Scan", 8)
def scan_of_batches(call: Call) -> Value:
    body: Graph = call.attribute("body")
    if call.has(0):
        raise call.unsupported("sequences of different lengths")
    count = call.attribute("num_scan_inputs")
    tensors = [to_jax(value) for value in call.inputs[1:]]
    carried, sequences = tensors[:-count], tensors[len(tensors) - count :]
    batch = tensors[0].shape[0]
    results = [
        _scan(call, body, [one[index] for one in carried], [one[index] for one in sequences]) for index in range(batch)
    ]
    return [jnp.stack(_tensors(parts, call)) for parts in zip(*results, strict=True)]


def _scan(call: Call, body: Graph, carried: list[Value], sequences: list[Value]) -> list[Value]:
    if len(body.inputs) != len(carried) + len(sequences):
        raise call.refuse("the body's inputs do not fit the node's")
    stacks = len(body.outputs) - len(carried)
    count = len(sequences)
    in_axes = call.attribute("scan_input_axes", (0,) * count)
    in_reversed = call.attributes.get("scan_input_directions") or call.attributes.get("directions") or (0,) * count
    out_axes = call.attribute("scan_output_axes", (0,) * stacks)
    out_reversed = call.attribute("scan_output_directions", (0,) * stacks)
    moved = []
    for value, axis, backwards in zip(sequences, in_axes, in_reversed, strict=True):
        xp = np if isinstance(value, np.ndarray) else jnp
        one = xp.moveaxis(value, call.axis(axis, value.ndim), 0)
        moved.append(xp.flip(one, 0) if backwards else one)
    turns = moved[0].shape[0]
    if any(one.shape[0] != turns for one in moved):
        raise call.refuse("the sequences have different lengths")
    found: list[Value] = []
    if call.node not in call.frame.unrolled:
        try:
            found = _rolled_scan(call, body, carried, moved)
        except _Varies:
            pass
        except StaticNeeded:
            if turns > bounds.UNROLLED_TURNS:
                raise
    if not found:
        if turns > bounds.UNROLLED_TURNS:
            raise call.unsupported(
                f"a scan whose turns differ in their shapes can have at most {bounds.UNROLLED_TURNS} turns",
                given=f"{turns} turns",
            )
        found = _unrolled_scan(call, body, carried, moved, stacks)
    results = found[: len(carried)]
    for value, axis, backwards in zip(found[len(carried) :], out_axes, out_reversed, strict=True):
        xp = np if isinstance(value, np.ndarray) else jnp
        one = xp.flip(value, 0) if backwards else value
        results.append(xp.moveaxis(one, 0, call.axis(axis, one.ndim)))
    return results


def _rolled_scan(call: Call, body: Graph, carried: list[Value], sequences: list[Value]) -> list[Value]:
    problems: list[Problem] = []
    state = _tensors(carried, call)
    forms = [(one.shape, one.dtype) for one in state]

    def turn(before: Any, parts: list[jax.Array]) -> Any:
        code, values = before
        frame, checks = _enclosed(call.frame)
        outputs = run_graph(body, [*values, *parts], frame, prefix=f"{call.node.name}/")
        problems[:] = [check.problem for check in checks]
        after = _tensors(outputs[: len(values)], call)
        if [(one.shape, one.dtype) for one in after] != forms:
            raise _Varies
        return (jnp.where(code != 0, code, _code(checks)), after), _tensors(outputs[len(values) :], call)

    start = (jnp.zeros((), jnp.int32), state)
    (code, last), stacks = jax.lax.scan(turn, start, _tensors(sequences, call))
    _leave(call.frame, problems, code)
    return [*last, *stacks]


def _unrolled_scan(call: Call, body: Graph, carried: list[Value], sequences: list[Value], stacks: int) -> list[Value]:
    gathered: list[list[Value]] = [[] for _ in range(stacks)]
    for number in range(sequences[0].shape[0]):
        parts = [np.asarray(one[number]) if isinstance(one, np.ndarray) else one[number] for one in sequences]
        prefix = f"{call.node.name}/{number}/"
        outputs = run_graph(body, [*carried, *parts], call.frame, prefix=prefix)
        carried = outputs[: len(carried)]
        for stack, value in zip(gathered, outputs[len(carried) :], strict=True):
            stack.append(value)
    return [*carried, *(_stack(call, stack) for stack in gathered)]

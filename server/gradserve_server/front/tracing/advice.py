"""What to try, for people, where gradients do not flow."""

from __future__ import annotations

import math
from collections.abc import Sequence

from gradserve_server.common.tracing import Instance
from gradserve_server.front.tracing.depth import Depth
from gradserve_server.front.tracing.table import Table
from gradserve_server.front.tracing.trail import Step, Trail
from gradserve_server.front.tracing.values import Values

AT_REST = ("The loss does not change with the predictions at all: it is at a minimum, or every example weight is 0.",)

_SATURATING = {"sigmoid": "at most a quarter", "tanh": "little", "softmax": "little", "erf": "little"}
_RECTIFYING = frozenset({"relu"})
_WEIGHTED = frozenset({"dense", "convolution", "transposed_convolution", "gemm", "matmul", "conv", "einsum"})
# Part of the whole change from which on a kind of operation is worth naming.
_WORTH_NAMING = 0.2
_MOST_NAMED = 2


def over_depth(trail: Trail, depth: Depth, table: Table, *, vanishes: bool) -> tuple[str, ...]:
    """Where gradients shrink or grow from layer to layer.

    Args:
        trail: the longest way of a gradient.
        depth: the layers.
        table: the numbers.
        vanishes: whether they shrink.
    """
    end = trail.end()
    if vanishes and end is not None and not _underflows(end, table):
        return (_death(end, table),)
    shares = trail.shares(-1.0 if vanishes else 1.0)
    whole = sum(shares.values())
    named = [kind for kind, share in shares.items() if share >= _WORTH_NAMING * whole][:_MOST_NAMED]
    kinds = {step.operation.site.operation for step in trail.steps}
    lines = []
    if end is not None:
        lines.append(f"Behind {end.operation.name} gradients are too small for {end.value.site.dtype} and become 0.")
    for kind in named:
        lines += _about_kind(kind, trail, depth, table, vanishes=vanishes)
    if not any("normalization" in kind.lower() for kind in kinds):
        lines.append("Normalize between layers: layer or batch normalization keeps sizes alike from layer to layer.")
    if not _has_skips(trail, depth):
        lines.append("Lead a residual connection around every layer or two: on it gradients pass unchanged.")
    elif not vanishes:
        lines.append("Normalize what residual branches take, or scale what they add, as it grows with each one.")
    if not vanishes:
        lines.append("As first aid, clip gradients by their global norm.")
    return tuple(lines)


def in_time(reader: Instance, step: int, steps: int, *, vanishes: bool) -> tuple[str, ...]:
    """Where gradients shrink or grow from step to step of a sequence.

    Args:
        reader: what reads it.
        step: from the end, the first one where they have changed by a factor of a thousand; counted from 0.
        steps: their number.
        vanishes: whether they shrink.
    """
    how = "fallen to a thousandth or less" if vanishes else "grown a thousandfold or more"
    first = f"In {reader.name} gradients have {how} at step {step} of {steps}, counted from 0, seen from the last one."
    if not vanishes:
        return (
            first,
            "Clip gradients by their global norm.",
            "Start with smaller recurrent weights, orthogonal ones best, or use a gated cell: LSTM or GRU.",
        )
    lines = [first]
    if "lstm" not in reader.site.operation.lower() and "gru" not in reader.site.operation.lower():
        lines.append("Use a gated cell: LSTM or GRU.")
    else:
        lines.append("Start with a large bias of the forget gate, so that the state is kept.")
    lines.append("Let the loss see more than the last step, cut sequences into shorter ones, or attend to all steps.")
    return tuple(lines)


def not_finite(places: Sequence[Instance], values: Values, table: Table) -> tuple[str, ...]:
    """Where numbers stop to be finite."""
    return tuple(dict.fromkeys(_about_fault(one, values, table) for one in places[:_MOST_NAMED]))


def cut_off(found: Sequence[tuple[Instance, Sequence[Instance]]]) -> tuple[str, ...]:
    """Why parameters have no path to the loss."""
    lines: dict[str, None] = {}
    for parameter, ends in found:
        if not ends:
            lines[f"Nothing is computed from {parameter.name}: use it or leave it out."] = None
        for end in ends:
            lines[f"The path of {parameter.name} ends at {end.name} ({end.site.operation}): {_why(end)}."] = None
    most = 5
    more = len(lines) - most
    return (*list(lines)[:most], *((f"and {more} more like these",) if more > 0 else ()))


def dead_branches(values: Values, table: Table) -> tuple[str, ...]:
    """What is wrong in a part of a network that is healthy as a whole."""
    dead = [
        one
        for one in values.all
        if one.site.operation.lower() in _RECTIFYING
        and one.site.connected
        and table.of_value(one, "zero_fraction") == 1.0
        and table.size(one).norm
    ]
    return tuple(_dead(one) for one in dead[:_MOST_NAMED])


def _about_kind(kind: str, trail: Trail, depth: Depth, table: Table, *, vanishes: bool) -> list[str]:
    """What a kind of operation has to do with it."""
    name = kind.lower()
    steps = [step for step in trail.steps if step.operation.site.operation == kind]
    if vanishes and name in _SATURATING:
        return [f"{kind} lets {_SATURATING[name]} of a gradient pass: use relu, gelu or silu between layers."]
    if vanishes and name in _RECTIFYING:
        return [f"{kind} stops the gradient of what is below 0: He's initialization makes up for it."]
    if name in _WEIGHTED:
        worst = (min if vanishes else max)(steps, key=lambda step: step.decades)
        return [_about_weights(worst.operation, depth, table, vanishes=vanishes)]
    if "normalization" in name and not vanishes:
        least = max(steps, key=lambda step: step.decades)
        deviation = table.of_value(least.value, "standard_deviation")
        return [f"{least.operation.name} divides by a small deviation ({deviation:.3g}): what it takes hardly varies."]
    worst = (min if vanishes else max)(steps, key=lambda step: step.decades)
    how = "smaller" if vanishes else "larger"
    return [f"{kind} makes gradients {how}, most at {worst.operation.name}: look at what it takes."]


def _about_weights(layer: Instance, depth: Depth, table: Table, *, vanishes: bool) -> str:
    """Sizes of weights beside those that keep gradients as they are."""
    size = "small" if vanishes else "large"
    kernel = depth.weights(layer)
    if kernel is None:
        return f"The weights of {layer.name} are {size}: start with Glorot's or He's initialization."
    found = table.of_value(kernel, "root_mean_square")
    told = f"root mean square {found:.3g}"
    if layer.site.operation in {"dense", "convolution"}:
        # Kernels are [..., inputs, outputs]: all but the last axis is what one output is summed over.
        inputs = math.prod(kernel.site.shape[:-1])
        told += f", where LeCun's initialization gives {math.sqrt(1 / inputs):.3g} and He's {math.sqrt(2 / inputs):.3g}"
    return f"The weights of {layer.name} are {size} ({told}): start with one of these, or Glorot's."


def _underflows(end: Step, table: Table) -> bool:
    """Whether a gradient becomes 0 for being too small, and not at once."""
    before = table.size(end.operation).root_mean_square
    limits = {"float64": 1e-290, "float16": 1e-4}
    return before < limits.get(end.operation.site.dtype, 1e-30)


def _death(end: Step, table: Table) -> str:
    """What stops a gradient altogether."""
    operation = end.operation
    kind = operation.site.operation.lower()
    if kind in _RECTIFYING and table.of_value(operation, "zero_fraction") == 1.0:
        return _dead(operation)
    if kind in _SATURATING:
        return (
            f"{operation.name} ({kind}) is so far from 0 that it is flat: scale down what it takes, or compute the loss"
            " from what it takes (`from_logits`)."
        )
    return f"At {operation.name} ({operation.site.operation}) the gradient becomes exactly 0: look at what it takes."


def _dead(operation: Instance) -> str:
    return (
        f"Every element of {operation.name} ({operation.site.operation}) is 0, so no gradient passes it: start with"
        " smaller biases or weights, learn more slowly, or use leaky_relu, elu or gelu."
    )


def _has_skips(trail: Trail, depth: Depth) -> bool:
    """Whether some sum on the way adds up two values that depend on data."""
    return any(
        step.operation.site.operation.lower() == "add" and depth.count_of_data(step.operation) > 1
        for step in trail.steps
    )


def _about_fault(one: Instance, values: Values, table: Table) -> str:
    """What makes a number that is not finite."""
    operation, dtype = one.site.operation, one.site.dtype
    if one.site.row >= 0 and table.of_value(one, "non_finite"):
        count = int(table.of_value(one, "non_finite"))
        if operation in {"input", "target"}:
            return f"{one.name} holds {count} elements that are not finite: look at the data."
        if operation == "parameter":
            return (
                f"The parameter {one.name} holds {count} elements that are not finite: go back to weights from before"
                " training went wrong, learn more slowly, clip gradients."
            )
        largest = max((_largest(source, table) for source in values.inputs(one) if source.site.row >= 0), default=0.0)
        return (
            f"{one.name} ({operation}) gives {count} elements that are not finite of numbers up to {largest:.3g}:"
            f" {_reason(operation, dtype)}."
        )
    by = [use.by for use in values.passing(one)]
    if any(use.site.operation == "loss" for use in by):
        return (
            f"The loss, or its derivative by {one.name}, is not finite, where values go up to"
            f" {_largest(one, table):.3g}: compute the loss from logits (`from_logits`) rather than probabilities, and"
            " look at the size of targets."
        )
    names = ", ".join(f"{use.name} ({use.site.operation})" for use in by) or "the loss"
    return (
        f"The gradient of {one.name} is not finite behind {names}: it overflows {dtype}, or the derivative has no"
        " finite value there, as those of sqrt and log have none at 0; keep away from there with a small constant."
    )


def _largest(one: Instance, table: Table) -> float:
    return max(abs(table.of_value(one, "minimum")), abs(table.of_value(one, "maximum")))


def _reason(operation: str, dtype: str) -> str:
    if operation.lower() in {"log", "divide", "div", "rsqrt", "sqrt", "power", "pow", "reciprocal", "log1p"}:
        return "it has no finite value there; add a small constant to what it takes, or bound it"
    return f"it overflows {dtype}; make weights or inputs smaller, normalize, or compute in a wider type"


def _why(end: Instance) -> str:
    if end.site.connected or end.site.operation == "loss":
        return "no gradient passes to what decides or counts there"
    if end.site.dtype.startswith(("float", "bfloat")):
        return "the loss does not take it" if end.site.operation != "stop_gradient" else "it stops gradients"
    return f"{end.site.dtype} numbers have no gradients"


__all__ = ["AT_REST", "cut_off", "dead_branches", "in_time", "not_finite", "over_depth"]

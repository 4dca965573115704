"""What the page holds of a trace, as JSON takes it. Values are known by their index in `values`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gradserve.tensors import Array
from gradserve.trace_view.flow import MEANINGS, VERDICTS, points
from gradserve.trace_view.structure import Group, Structure, label, structure, values_of
from gradserve.traces import TensorStatistics, TracedValue, TraceResult

LOSS = "loss"


def page_data(trace: TraceResult, title: str) -> dict[str, Any]:
    """All that the page shows: nothing is computed there but where things stand."""
    graph = structure(trace.values)
    labels = {index: value.name for index, value in enumerate(trace.values)} | _labels(trace, graph.network)
    values = [
        _value(value, labels[index], graph.inputs[index], graph.depths[index])
        for index, value in enumerate(trace.values)
    ]
    ends = _ends(trace, graph)
    values.append(_loss(trace.loss, ends, 1 + max((graph.depths[end] for end in ends), default=0)))
    network = _group(graph.network)
    network["members"].append(len(trace.values))
    return {
        "title": title,
        "loss": _number(trace.loss),
        "flow": {
            "verdict": trace.flow.verdict,
            "label": VERDICTS[trace.flow.verdict],
            "meaning": MEANINGS[trace.flow.verdict],
            "factor_per_layer": _number(trace.flow.factor_per_layer),
            "places": list(trace.flow.places),
            "advice": list(trace.flow.advice),
        },
        "values": values,
        "network": network,
        "points": [
            {"value": point.index, "depth": point.depth, "size": _number(point.size), "of": point.of}
            for point in points(trace, graph)
        ],
    }


def _labels(trace: TraceResult, group: Group) -> dict[int, str]:
    labels: dict[int, str] = {}
    for member in group.members:
        if isinstance(member, int):
            labels[member] = label(trace.values[member].name, group)
        else:
            labels |= _labels(trace, member)
    return labels


def _value(value: TracedValue, short: str, inputs: tuple[int, ...], depth: int) -> dict[str, Any]:
    return {
        "name": value.name,
        "label": short,
        "operation": value.operation,
        "inputs": list(inputs),
        "depth": depth,
        "value": _statistics(value.value),
        "gradient": None if value.gradient is None else _statistics(value.gradient),
        "value_tensor": _tensor(value.value_tensor),
        "gradient_tensor": _tensor(value.gradient_tensor),
        "chain_rule": value.chain_rule,
    }


def _ends(trace: TraceResult, graph: Structure) -> list[int]:
    """What the loss takes, as far as a trace tells: targets, and values with a gradient that nothing else uses."""
    used = {one for inputs in graph.inputs for one in inputs}
    values = trace.values
    return [
        index
        for index in values_of(graph.network)
        if index not in used and (values[index].operation == "target" or _has_gradient(values[index]))
    ]


def _has_gradient(value: TracedValue) -> bool:
    return value.gradient is not None and value.gradient.zero_fraction < 1.0


def _loss(loss: float, ends: list[int], depth: int) -> dict[str, Any]:
    """The loss as one more value, so that the graph has an end."""
    scalar = {
        "data_type": "",
        "shape": [],
        "standard_deviation": 0.0,
        "zero_fraction": 0.0,
        "non_finite": 0,
    }

    def statistics(number: float) -> dict[str, Any]:
        said = _number(number)
        size = _number(abs(number))
        finite = math.isfinite(number)
        return {
            **scalar,
            **dict.fromkeys(("mean", "minimum", "maximum"), said),
            **dict.fromkeys(("norm", "root_mean_square"), size),
            "non_finite": int(not finite),
        }

    return {
        "name": LOSS,
        "label": LOSS,
        "operation": LOSS,
        "inputs": ends,
        "depth": depth,
        "value": statistics(loss),
        "gradient": statistics(1.0),
        "value_tensor": None,
        "gradient_tensor": None,
        "chain_rule": "dL/dL = 1",
    }


def _statistics(statistics: TensorStatistics) -> dict[str, Any]:
    return {
        "data_type": str(statistics.dtype),
        "shape": list(statistics.shape),
        "mean": _number(statistics.mean),
        "standard_deviation": _number(statistics.standard_deviation),
        "minimum": _number(statistics.minimum),
        "maximum": _number(statistics.maximum),
        "norm": _number(statistics.norm),
        "root_mean_square": _number(statistics.root_mean_square),
        "zero_fraction": _number(statistics.zero_fraction),
        "non_finite": statistics.non_finite,
    }


def _tensor(array: Array | None) -> dict[str, Any] | None:
    """Shape and elements in row-major order, with no more digits than their type tells apart."""
    if array is None:
        return None
    if array.dtype.kind in "bui":
        elements: list[Any] = array.astype(object).ravel().tolist()
    else:
        wide = array if array.dtype == np.float64 else array.astype(np.float32)
        elements = [_number(float(str(one))) for one in wide.ravel()]
    return {"shape": list(array.shape), "elements": elements}


def _group(group: Group) -> dict[str, Any]:
    return {
        "path": group.path,
        "kind": group.kind,
        "result": group.result,
        "members": [member if isinstance(member, int) else _group(member) for member in group.members],
    }


def _number(value: float) -> float | str:
    """JSON has no numbers that are not finite: they come as "nan", "inf", "-inf"."""
    return value if math.isfinite(value) else str(float(value))

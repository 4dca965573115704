"""The results of a traced program as an answer of the contract."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from gradserve.v1 import gradient_service_pb2 as service
from gradserve_server.common.specs import Program
from gradserve_server.common.tracing import STATISTICS, TURN, Instance, Layout
from gradserve_server.front.convert import Task
from gradserve_server.front.forms import Reply, Times
from gradserve_server.front.tensors import DTYPES_BY_NAME, NUMBERS, Array, write_tensor
from gradserve_server.front.tracing.chain_rule import Numbers, chain_rule
from gradserve_server.front.tracing.depth import Depth
from gradserve_server.front.tracing.flow import VERDICTS, judge
from gradserve_server.front.tracing.table import Table
from gradserve_server.front.tracing.values import Values

# Programs whose structure is kept.
_MOST_KEPT = 64
_structures: dict[bytes, tuple[Values, Depth]] = {}
_lock = threading.Lock()


def trace_answer(program: Program, results: Sequence[Array], _task: Task, times: Times, *, split: bool) -> Reply:
    """The answer that the results of a run make; nothing of it is attached, as what is large is not in it."""
    del split
    layout = program.layout
    assert layout is not None
    groups: dict[str, dict[str, Array]] = {"value": {}, "gradient": {}, "statistics": {}, "numbers": {}}
    for result, array in zip(program.results, results, strict=True):
        groups[result.group][result.array.name] = array
    head = service.TraceResponse(loss=float(groups["numbers"]["numbers"][program.numbers.index("loss")]))
    table = Table(groups["statistics"]["statistics"], layout)
    values, depth = _structure(program.key, layout)
    numbers = Numbers(lambda value: table.of_value(value, "mean"), lambda value: table.of_gradient(value, "mean"))
    for value in values.all:
        if value.site.row < 0 or (layout.names is not None and value.name not in layout.names):
            continue
        site = value.site
        message = head.values.add(
            name=value.name,
            operation=site.operation,
            inputs=[one.name for one in values.inputs(value)],
            chain_rule=chain_rule(value, values, numbers),
        )
        _write_statistics(message.value, value, table.value(value))
        if site.gradient_row >= 0:
            _write_statistics(message.gradient, value, table.gradient(value))
        if site.whole:
            source = site.key.removesuffix(TURN)
            write_tensor(message.value_tensor, groups["value"][source][value.turns])
            if site.gradient_row >= 0:
                write_tensor(message.gradient_tensor, groups["gradient"][source][value.turns])
    flow = judge(values, depth, table, head.loss)
    head.flow.verdict = VERDICTS[flow.verdict]
    head.flow.factor_per_layer = flow.factor_per_layer
    head.flow.places.extend(flow.places)
    head.flow.advice.extend(flow.advice)
    head.timing.CopyFrom(times.message())
    return Reply(head.SerializeToString())


def _structure(key: bytes, layout: Layout) -> tuple[Values, Depth]:
    """What the layout of the program `key` says beside all numbers; found once for each program."""
    with _lock:
        found = _structures.get(key)
    if found is None:
        values = Values(layout)
        found = values, Depth(values)
        with _lock:
            _structures[key] = found
            while len(_structures) > _MOST_KEPT:
                _structures.pop(next(iter(_structures)))
    return found


def _write_statistics(message: service.TensorStatistics, value: Instance, row: Array) -> None:
    message.data_type = NUMBERS[DTYPES_BY_NAME[value.site.dtype]]  # type: ignore[assignment]
    message.shape.extend(value.site.shape)
    for name, number in zip(STATISTICS, row.tolist(), strict=True):
        setattr(message, name, int(number) if name == "non_finite" else number)

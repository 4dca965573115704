"""One call against its floor: the same jitted function called locally, plus a raw gRPC echo of as many bytes up and
down."""

from __future__ import annotations

from collections.abc import Iterator

from gradserve import requests
from tests.benchmarks.echo import echo
from tests.benchmarks.row import Row
from tests.benchmarks.served import Isolation, served
from tests.benchmarks.workload import MLP, TINY, Workload, by_turns

# Name, workload, target with a worker process, target in process, calls in a round.
CASES: tuple[tuple[str, Workload, float | None, float | None, int], ...] = (
    ("tiny_inline", TINY, 1.45, 1.2, 60),
    ("mlp_inline", MLP, 1.2, None, 12),
)
ROUNDS = 12


def measure_inline(only: str) -> Iterator[Row]:
    """The rows `tiny_inline`, `mlp_inline`, their twins in process, and `mlp_put`."""
    for name, workload, target, target_in_process, calls in CASES:
        for isolation, row, limit in (("process", name, target), ("none", f"{name}_in_process", target_in_process)):
            if only in row:
                yield Row(row, *_measure(isolation, workload, calls), limit)
    if only in "mlp_put":
        yield Row("mlp_put", *_measure("process", MLP, 12, put=True), 1.25)


def _measure(isolation: Isolation, workload: Workload, calls: int, *, put: bool = False) -> tuple[float, str, float]:
    """Median milliseconds of a served call, and of its floor.

    A served call computes and travels by turns, so that each finds the caches cold that the other has used; so does
    its floor.
    """
    with served(isolation) as client:
        local = workload.local()
        weights = client.put(workload.weights) if put else workload.weights
        workload.check(workload.call(client, weights), local())
        up = requests.gradients(workload.network, weights, workload.batch, loss=workload.loss).message
        with echo(up, workload.nbytes) as wire:
            value, floor = by_turns(
                ROUNDS, (lambda: workload.call(client, weights), calls), (lambda: (local(), wire()), calls)
            )
    return value, "ms", floor

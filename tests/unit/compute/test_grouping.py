"""Requests of one program in one run get the bits that each gets alone."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest

import gradserve as gs
from gradserve_server.common.specs import (
    ArraySpec,
    Limits,
    Mode,
    NetworkSource,
    Options,
    Program,
    ProgramSpec,
    Selection,
)
from gradserve_server.compute import grouping
from gradserve_server.compute.executor import Executor

REQUESTS = 4
CASES: dict[str, tuple[gs.Network, tuple[str, tuple[int, ...]], dict[str, tuple[int, ...]]]] = {
    "dense": (
        gs.sequential(gs.dense(16), gs.relu(), gs.dense(4), x=("batch", 8)),
        ("float32", (5, 8)),
        {"dense_1/kernel": (8, 16), "dense_1/bias": (16,), "dense_2/kernel": (16, 4), "dense_2/bias": (4,)},
    ),
    "convolution": (
        gs.sequential(gs.convolution(3, (3, 3)), gs.relu(), gs.flatten(), gs.dense(4), x=("batch", 6, 6, 2)),
        ("float32", (5, 6, 6, 2)),
        {
            "convolution_1/kernel": (3, 3, 2, 3),
            "convolution_1/bias": (3,),
            "dense_1/kernel": (108, 4),
            "dense_1/bias": (4,),
        },
    ),
    "dropout": (
        gs.sequential(gs.dense(16), gs.dropout(0.5), gs.dense(4), x=("batch", 8)),
        ("float32", (5, 8)),
        {"dense_1/kernel": (8, 16), "dense_1/bias": (16,), "dense_2/kernel": (16, 4), "dense_2/bias": (4,)},
    ),
    "embedding": (
        gs.sequential(gs.embedding(7, 6), gs.flatten(), gs.dense(4), x=gs.spec("batch", 3, dtype="int32")),
        ("int32", (5, 3)),
        {"embedding_1/table": (7, 6), "dense_1/kernel": (18, 4), "dense_1/bias": (4,)},
    ),
}


def spec_of(name: str) -> ProgramSpec:
    network, (dtype, shape), weights = CASES[name]
    return ProgramSpec(
        kind="gradients",
        network=NetworkSource("graph", network.to_bytes()),
        loss=gs.softmax_cross_entropy(target="y").to_bytes(),
        batch=(ArraySpec("x", dtype, shape), ArraySpec("y", "int32", (5,))),
        weights=tuple(ArraySpec(one, "float32", weights[one]) for one in sorted(weights)),
        selection=Selection(("*",)),
        options=Options(mode=Mode.TRAINING),
    )


def arguments_of(program: Program, seed: int) -> list[Any]:
    random = np.random.default_rng(seed)
    return [
        random.standard_normal(one.shape).astype(np.float32)
        if one.dtype == "float32"
        else random.integers(0, 4, one.shape).astype(one.dtype)
        for one in program.arguments
    ]


@pytest.fixture(scope="module")
def executor() -> Executor:
    return Executor(Limits())


def run_together(executor: Executor, spec: ProgramSpec, requests: list[list[Any]]) -> tuple[Program, list[Any]]:
    group = executor.prepare(msgspec.structs.replace(spec, requests=REQUESTS))
    stacks = [np.zeros(one.shape, one.dtype) for one in group.arguments]
    for place, arguments in enumerate(requests):
        for stack, array in zip(stacks, arguments, strict=False):
            stack[place] = array
        stacks[-2][place] = 100 + place
    stacks[-1][...] = len(requests)
    results, _ = executor.run(group.key, stacks, 0, 0)
    assert [(one.dtype, one.shape) for one in results] == [
        (np.dtype(one.array.dtype), one.array.shape) for one in group.results
    ]
    return group, results


@pytest.mark.parametrize(
    "name", [pytest.param(one, marks=() if one in ("dense", "dropout") else pytest.mark.long) for one in CASES]
)
def test_each_gets_the_bits_that_it_gets_alone(executor: Executor, name: str) -> None:
    spec = spec_of(name)
    program = executor.prepare(spec)
    assert program.can_group
    requests = [arguments_of(program, seed) for seed in range(3)]
    _, together = run_together(executor, spec, requests)
    for place, arguments in enumerate(requests):
        alone, _ = executor.run(program.key, arguments, 0, 100 + place)
        for one, stack in zip(alone, together, strict=False):
            assert one.tobytes() == stack[place].tobytes()


def test_random_masks_differ_with_the_seed_of_each(executor: Executor) -> None:
    spec = spec_of("dropout")
    arguments = arguments_of(executor.prepare(spec), 0)
    _, together = run_together(executor, spec, [arguments, arguments])
    assert together[0][0].tobytes() != together[0][1].tobytes()


def test_one_that_fails_a_check_fails_alone(executor: Executor) -> None:
    spec = spec_of("dense")
    program = executor.prepare(spec)
    requests = [arguments_of(program, seed) for seed in range(3)]
    requests[1][-1][0] = 9
    group, together = run_together(executor, spec, requests)
    assert [one.reason for one in group.problems] == ["INDEX_OUT_OF_RANGE"]
    assert together[-1].tolist() == [[False], [True], [False], [False]]


def test_one_after_another_is_the_same_as_the_loop() -> None:
    def alone(shared: np.ndarray, row: np.ndarray, seed: np.int64) -> list[np.ndarray]:
        return [shared + row, np.float32(row.sum()) + seed]

    run = grouping.one_after_another(alone, own=1, requests=4)
    rows = np.arange(8, dtype=np.float32).reshape(4, 2)
    first, second = run(np.ones(2, np.float32), rows, np.arange(4), np.int32(3), np.int64(0))
    assert first.tolist() == [[1, 2], [3, 4], [5, 6], [0, 0]]
    assert second.tolist() == [1, 6, 11, 0]


def test_large_requests_and_traces_do_not_share_runs(executor: Executor) -> None:
    spec = spec_of("dense")
    large = msgspec.structs.replace(
        spec, batch=(ArraySpec("x", "float32", (9000, 8)), ArraySpec("y", "int32", (9000,)))
    )
    assert not executor.prepare(large).can_group

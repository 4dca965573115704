from __future__ import annotations

import concurrent.futures
import os
import signal
import time
from pathlib import Path

import numpy as np

import gradserve as gs


def workers_of(parent: int) -> list[int]:
    """Process ids of the worker processes below `parent`."""
    found = []
    for task in Path(f"/proc/{parent}/task").iterdir():
        for child in (task / "children").read_text().split():
            if b"gradserve_server.worker" in Path(f"/proc/{child}/cmdline").read_bytes():
                found.append(int(child))
            else:
                found += workers_of(int(child))
    return found


def test_every_request_is_answered_right_while_the_worker_is_killed() -> None:
    net = gs.sequential(gs.dense(8), gs.tanh(), gs.dense(3), x=("batch", 5))
    loss = gs.softmax_cross_entropy(target="y")
    random = np.random.default_rng(0)
    others = set(workers_of(os.getpid()))
    with gs.local() as client:
        weights = client.initialize(net, seed=1)
        batches = [
            {"x": random.standard_normal((4, 5)).astype(np.float32), "y": random.integers(0, 3, 4).astype(np.int32)}
            for _ in range(200)
        ]
        expected = [client.gradients(net, weights, batch, loss=loss) for batch in batches]
        (first,) = set(workers_of(os.getpid())) - others

        def ask(index: int) -> gs.GradientResult:
            if index == 100:
                os.kill(first, signal.SIGKILL)
            return client.gradients(net, weights, batches[index], loss=loss)

        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(ask, range(200)))
        for answer, right in zip(answers, expected, strict=True):
            assert answer.loss == right.loss
            for name, gradient in right.gradients.items():
                np.testing.assert_array_equal(answer.gradients[name], gradient)
        (second,) = set(workers_of(os.getpid())) - others
        assert second != first
    deadline = time.monotonic() + 5
    while set(workers_of(os.getpid())) - others and time.monotonic() < deadline:
        time.sleep(0.05)
    assert set(workers_of(os.getpid())) <= others

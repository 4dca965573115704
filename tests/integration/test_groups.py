"""Many callers of one server with small requests: shared runs, and to each the bits that it gets alone."""

from __future__ import annotations

import os
import signal
import threading
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import gradserve as gs
from tests.integration.test_server import Serving, serving

CALLERS = 12
SECONDS = 30.0
LOSS = gs.softmax_cross_entropy(target="y")


@pytest.fixture(scope="module")
def server() -> Iterator[Serving]:
    with serving("--metrics-address", "127.0.0.1:0", "--stop-with-stdin", "true") as one:
        one.places = one.until("listening")  # type: ignore[attr-defined]
        one.until("serving")
        # Nobody reads the log from here on, and a full pipe would hold the server up.
        threading.Thread(target=one.process.stderr.read, daemon=True).start()
        yield one
        one.process.stdin.close()
        one.process.wait(20)


@pytest.fixture(scope="module")
def client(server: Serving) -> Iterator[gs.Client]:
    with gs.Client(server.places["address"]) as client:  # type: ignore[attr-defined]
        yield client


class Request:
    """One request, its own weights, batch and seed, and what comes of it alone."""

    def __init__(self, number: int, units: int = 16, examples: int = 8) -> None:
        random = np.random.default_rng(number)
        forms = {
            "dense_1/kernel": (8, units),
            "dense_1/bias": (units,),
            "dense_2/kernel": (units, 4),
            "dense_2/bias": (4,),
        }
        self.weights = {name: random.standard_normal(shape).astype(np.float32) for name, shape in forms.items()}
        self.batch = {
            "x": random.standard_normal((examples, 8)).astype(np.float32),
            "y": random.integers(0, 4, examples).astype(np.int32),
        }
        self.network = gs.sequential(gs.dense(units), gs.dropout(0.5), gs.dense(4), x=("batch", 8))
        self.seed = number
        self.alone: bytes | None = None

    def ask(self, client: gs.Client, **options: Any) -> gs.GradientResult:
        return client.gradients(
            self.network, self.weights, self.batch, loss=LOSS, mode="training", seed=self.seed, **options
        )


def bits(result: gs.GradientResult) -> bytes:
    arrays = [result.gradients[name].tobytes() for name in sorted(result.gradients)]
    return b"".join([np.float64(result.loss).tobytes(), *arrays])


def all_at_once(client: gs.Client, requests: list[Request], rounds: int = 1) -> list[int]:
    """Sizes of the runs that the answers came from; each is compared with that of the request alone."""
    sizes = []

    def ask(request: Request) -> None:
        for _ in range(rounds):
            result = request.ask(client)
            assert bits(result) == request.alone
            sizes.append(result.timing.batched_requests)

    with ThreadPoolExecutor(len(requests)) as pool:
        for done in [pool.submit(ask, request) for request in requests]:
            done.result()
    return sizes


def until_grouped(client: gs.Client, requests: list[Request]) -> list[int]:
    """Asks until runs are shared: programs for it are compiled while the first ones ask."""
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        sizes = all_at_once(client, requests, rounds=5)
        if max(sizes) > 4:
            return sizes
    raise AssertionError("no run was shared")


@pytest.fixture(scope="module")
def requests(client: gs.Client) -> list[Request]:
    found = [Request(number) for number in range(CALLERS)]
    for one in found:
        result = one.ask(client)
        assert result.timing.batched_requests == 1
        one.alone = bits(result)
    assert len({one.alone for one in found}) == CALLERS
    until_grouped(client, found)
    return found


def runs(server: Serving) -> dict[str, float]:
    address = server.places["metrics_address"]  # type: ignore[attr-defined]
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=10) as response:
        lines = [line for line in response.read().decode().splitlines() if line.startswith("gradserve_run_requests")]
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}


def test_each_of_many_gets_its_own_bits_and_runs_are_shared(
    server: Serving, client: gs.Client, requests: list[Request]
) -> None:
    before = runs(server)
    sizes = all_at_once(client, requests, rounds=20)
    after = runs(server)
    assert max(sizes) > 1
    assert after["gradserve_run_requests_sum"] - before["gradserve_run_requests_sum"] == len(sizes)
    assert after["gradserve_run_requests_count"] - before["gradserve_run_requests_count"] < len(sizes)
    assert after['gradserve_run_requests_bucket{le="+Inf"}'] == after["gradserve_run_requests_count"]


def test_one_bad_request_fails_alone(client: gs.Client, requests: list[Request]) -> None:
    bad = Request(99)
    bad.batch["y"][0] = 4
    failures: list[gs.GradserveError] = []

    def ask() -> None:
        for _ in range(20):
            with pytest.raises(gs.InvalidRequest) as caught:
                bad.ask(client)
            failures.append(caught.value)

    thread = threading.Thread(target=ask)
    thread.start()
    all_at_once(client, requests, rounds=20)
    thread.join(SECONDS)
    assert [one.reason for one in failures] == ["INDEX_OUT_OF_RANGE"] * 20


def test_who_gives_up_does_not_take_others_along(client: gs.Client, requests: list[Request]) -> None:
    outcomes: list[str] = []

    def ask() -> None:
        for number in range(40):
            try:
                requests[0].ask(client, timeout=0.0002 * (1 + number % 20))
                outcomes.append("answered")
            except gs.DeadlineExceeded:
                outcomes.append("late")

    thread = threading.Thread(target=ask)
    thread.start()
    all_at_once(client, requests, rounds=20)
    thread.join(SECONDS)
    assert len(outcomes) == 40
    assert "late" in outcomes


@pytest.mark.long
def test_a_killed_worker_costs_nobody_an_answer(server: Serving, client: gs.Client, requests: list[Request]) -> None:
    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(all_at_once, client, requests, 40)
        time.sleep(0.05)
        for worker in server.workers():
            os.kill(worker, signal.SIGKILL)
        asking.result(SECONDS)
    until_grouped(client, requests)


def test_a_dear_program_is_never_shared(client: gs.Client) -> None:
    # Its weights are larger than what is worth being copied into a stack.
    dear = [Request(number, units=8000) for number in range(4)]
    for one in dear:
        one.alone = bits(one.ask(client))
    assert set(all_at_once(client, dear, rounds=10)) == {1}

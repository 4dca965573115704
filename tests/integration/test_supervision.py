"""The worker process and its supervisor, with the real executor in it."""

import contextlib
import gc
import logging
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import msgspec
import numpy as np
import pytest

import gradserve as gs
from gradserve_server.common.errors import Problem, Reason
from gradserve_server.common.specs import (
    ArraySpec,
    DescribeSpec,
    Limits,
    NetworkSource,
    Options,
    ProgramSpec,
    Selection,
)
from gradserve_server.worker.in_process import InProcessWorker
from gradserve_server.worker.interface import ProgramMissing, Seeds, WorkerDied
from gradserve_server.worker.supervisor import ProcessWorker

NETWORK = NetworkSource(
    "graph",
    gs.sequential(gs.dense(16), gs.relu(), gs.dense(10), x=("batch", 8)).to_bytes(),
)
LOSS = gs.softmax_cross_entropy(target="y").to_bytes()
WEIGHTS = (
    ArraySpec("dense_1/bias", "float32", (16,)),
    ArraySpec("dense_1/kernel", "float32", (8, 16)),
    ArraySpec("dense_2/bias", "float32", (10,)),
    ArraySpec("dense_2/kernel", "float32", (16, 10)),
)


def spec(rows=4):
    return ProgramSpec(
        kind="gradients",
        network=NETWORK,
        loss=LOSS,
        batch=(ArraySpec("x", "float32", (rows, 8)), ArraySpec("y", "int32", (rows,))),
        weights=WEIGHTS,
        selection=Selection(("*",)),
    )


@pytest.fixture(scope="module")
def shared():
    """A worker that no test kills."""
    worker = ProcessWorker(Limits(), lanes=4, arena_bytes=1 << 28)
    yield worker
    worker.close()


@pytest.fixture
def worker():
    """A worker to do anything to."""
    worker = ProcessWorker(Limits(), lanes=4, arena_bytes=1 << 28)
    worker.platform()
    yield worker
    worker.close()


@pytest.fixture(scope="module")
def in_process():
    worker = InProcessWorker(Limits())
    yield worker
    worker.close()


def fill(block, seed):
    random = np.random.default_rng(seed)
    for array in block.arguments:
        if array.dtype == np.int32:
            array[...] = random.integers(0, 10, array.shape)
        else:
            array[...] = random.normal(size=array.shape)


def gradients(worker, seed=0, rows=4):
    """One call as the front makes it: prepared again where needed, run again where it died."""
    for _ in range(5):
        try:
            program = worker.prepare(spec(rows))
            with worker.allocate(program) as block:
                fill(block, seed)
                return [one.copy() for one in worker.run(program, block, Seeds()).results]
        except (WorkerDied, ProgramMissing):
            continue
    raise AssertionError("died in five attempts")


def call_under_way(worker, program):
    """A thread whose call is in the stopped worker process, and the list for its end."""
    outcome = []

    def call():
        with worker.allocate(program) as block:
            try:
                worker.run(program, block, Seeds())
            except WorkerDied as died:
                outcome.append(died)

    os.kill(worker.pid, signal.SIGSTOP)
    thread = threading.Thread(target=call)
    thread.start()
    time.sleep(0.2)
    return thread, outcome


def process_exists(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def open_descriptors():
    """What each open descriptor is, where the system tells."""
    links = {}
    for entry in Path("/proc/self/fd").glob("*"):
        with contextlib.suppress(FileNotFoundError):
            links[entry.name] = str(entry.readlink())
    return links


def wait_until(condition, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.01)


def test_the_bits_are_those_of_the_worker_in_this_process(shared, in_process):
    for seed in range(3):
        for ours, theirs in zip(gradients(in_process, seed), gradients(shared, seed), strict=True):
            assert ours.tobytes() == theirs.tobytes()


@pytest.mark.long
def test_everything_else_is_the_same_as_well(shared, in_process):
    assert shared.platform() == in_process.platform()
    assert shared.initialize(NETWORK, 7) == in_process.initialize(NETWORK, 7)
    asked = DescribeSpec(NETWORK, {"batch": 4}, LOSS, Selection(), Options())
    assert shared.describe(asked) == in_process.describe(asked)
    ours, theirs = in_process.prepare(spec()), shared.prepare(spec())
    assert (ours.key, ours.arguments, ours.results) == (
        theirs.key,
        theirs.arguments,
        theirs.results,
    )


def test_problems_are_the_same_on_both_sides(shared, in_process):
    problems = []
    for worker in (shared, in_process):
        with pytest.raises(Problem) as caught:
            worker.initialize(NetworkSource("graph", b"\xff\xff"), 0)
        problems.append(caught.value.data())
    assert problems[0] == problems[1]


def test_a_program_that_is_not_held_is_missing(shared, in_process):
    for worker in (shared, in_process):
        program = worker.prepare(spec())
        unknown = msgspec.structs.replace(program, key=b"unknown")
        with worker.allocate(unknown) as block, pytest.raises(ProgramMissing):
            worker.run(unknown, block, Seeds())


def test_threads_share_the_lanes_and_get_their_own_answers(shared):
    expected = {seed: gradients(shared, seed) for seed in range(8)}
    wrong = []

    def call(seed):
        for _ in range(50):
            got = gradients(shared, seed)
            if any(a.tobytes() != b.tobytes() for a, b in zip(got, expected[seed], strict=True)):
                wrong.append(seed)

    threads = [threading.Thread(target=call, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.long
def test_calls_survive_the_death_of_the_worker(worker):
    expected = {seed: gradients(worker, seed) for seed in range(8)}
    stop = time.monotonic() + 8
    failures = []
    counts = [0] * 8

    def call(seed):
        while time.monotonic() < stop:
            try:
                got = gradients(worker, seed)
            except (Problem, AssertionError) as error:
                failures.append(error)
                return
            counts[seed] += 1
            if any(a.tobytes() != b.tobytes() for a, b in zip(got, expected[seed], strict=True)):
                failures.append(seed)

    threads = [threading.Thread(target=call, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    killed = set()
    for _ in range(2):
        time.sleep(0.5)
        wait_until(lambda: worker.ready and worker.pid not in killed)
        pid = worker.pid
        killed.add(pid)
        before = list(counts)
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: worker.ready and worker.pid not in killed)
    for thread in threads:
        thread.join()
    assert failures == []
    assert all(after > count for after, count in zip(counts, before, strict=True))
    assert worker._arena.used_bytes == 0


def test_a_call_under_way_hears_of_the_death(worker):
    program = worker.prepare(spec())
    thread, outcome = call_under_way(worker, program)
    os.kill(worker.pid, signal.SIGKILL)
    thread.join(10)
    assert len(outcome) == 1


def test_a_call_that_takes_too_long_is_refused_and_its_worker_replaced():
    with contextlib.closing(ProcessWorker(Limits(), lanes=2, arena_bytes=1 << 20, call_seconds=1.0)) as worker:
        worker.platform()
        pid = worker.pid
        os.kill(pid, signal.SIGSTOP)
        with pytest.raises(Problem) as caught:
            worker.initialize(NETWORK, 0)
        assert caught.value.reason is Reason.TIME_LIMIT
        wait_until(lambda: worker.ready and worker.pid != pid)
        assert not process_exists(pid)


def test_a_call_after_the_death_of_an_idle_worker_never_fails(worker):
    program = worker.prepare(spec())
    with worker.allocate(program) as block:
        os.kill(worker.pid, signal.SIGKILL)
        with contextlib.suppress(WorkerDied), pytest.raises(ProgramMissing):
            # The signal may take a moment: then, and only then, the call is in the worker.
            worker.run(program, block, Seeds())
        with pytest.raises(ProgramMissing):
            worker.run(program, block, Seeds())


def test_blocks_outlive_the_worker(worker):
    expected = gradients(worker, 3)
    program = worker.prepare(spec())
    with worker.allocate(program) as block:
        fill(block, 3)
        pid = worker.pid
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: worker.ready and worker.pid != pid)
        results = worker.run(worker.prepare(spec()), block, Seeds()).results
        assert [a.tobytes() for a in results] == [b.tobytes() for b in expected]


@pytest.mark.long
def test_births_and_deaths_are_logged(caplog):
    caplog.set_level(logging.INFO, "gradserve_server.worker")
    worker = ProcessWorker(Limits(), lanes=1, arena_bytes=1 << 20)
    worker.platform()
    pid = worker.pid
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: worker.ready and worker.pid != pid)
    worker.close()
    events = [(one.message, one.pid, getattr(one, "exit_status", None)) for one in caplog.records]
    assert events[:2] == [("worker started", pid, None), ("worker died", pid, -signal.SIGKILL)]
    assert [event[0] for event in events[2:]] == ["worker started", "worker ended"]


def test_what_does_not_fit_into_the_shared_memory_is_refused():
    with contextlib.closing(ProcessWorker(Limits(), lanes=1, arena_bytes=4096)) as worker:
        program = worker.prepare(spec(rows=1000))
        with pytest.raises(Problem) as caught:
            worker.allocate(program)
        assert caught.value.reason is Reason.MEMORY_LIMIT


def test_close_leaves_no_process_no_thread_and_no_descriptor_behind():
    gc.collect()
    descriptors = open_descriptors()
    threads = threading.active_count()
    worker = ProcessWorker(Limits(), lanes=4, arena_bytes=1 << 24)
    gradients(worker)
    pid = worker.pid
    worker.close()
    worker.close()
    assert not process_exists(pid)
    assert threading.active_count() == threads
    assert open_descriptors() == descriptors
    assert not worker.ready
    with pytest.raises(Problem) as caught:
        worker.prepare(spec())
    assert caught.value.reason is Reason.DRAINING


def test_close_does_not_wait_for_the_start():
    worker = ProcessWorker(Limits(), lanes=1, arena_bytes=1 << 20)
    start = time.monotonic()
    worker.close()
    assert time.monotonic() - start < 3


def test_close_ends_calls_under_way(worker):
    program = worker.prepare(spec())
    thread, outcome = call_under_way(worker, program)
    worker.close()
    thread.join(10)
    assert len(outcome) == 1


def test_the_worker_does_not_outlive_its_front():
    script = """
        import time
        from gradserve_server.common.specs import Limits
        from gradserve_server.worker.supervisor import ProcessWorker
        worker = ProcessWorker(Limits(), lanes=1, arena_bytes=1 << 20)
        worker.platform()
        print(worker.pid, flush=True)
        time.sleep(60)
    """
    front = subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)], stdout=subprocess.PIPE, text=True)
    with front:
        pid = int(front.stdout.readline())
        assert process_exists(pid)
        front.kill()
    wait_until(lambda: not process_exists(pid))


def test_the_front_side_never_loads_jax():
    script = """
        import sys
        import gradserve_server.worker.supervisor
        loaded = [name for name in sys.modules if name == "jax" or ".compute" in name]
        sys.exit(", ".join(loaded) or 0)
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=True)

import mmap
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradserve_server.common.errors import Problem, Reason
from gradserve_server.common.memory import ALIGNMENT
from gradserve_server.common.specs import ArraySpec, Program, ResultSpec
from gradserve_server.worker.memory import Arena, Layout, Layouts

SHAPES = st.lists(st.integers(0, 5), max_size=3).map(tuple)
DTYPES = st.sampled_from(["float32", "float64", "bfloat16", "bool", "uint8", "int64"])
ARRAYS = st.lists(st.builds(ArraySpec, st.just("a"), DTYPES, SHAPES), max_size=6).map(tuple)


def program(arguments=(), results=(), key=b"k"):
    results = tuple(ResultSpec("gradient", one) for one in results)
    return Program(key, arguments, results, (), 0, 0.0)


def bytes_on_file(arena):
    return os.fstat(arena.descriptor).st_blocks * 512


@given(st.lists(st.integers(0, 5000), min_size=1, max_size=40), st.data())
@settings(max_examples=60)
def test_blocks_are_aligned_and_apart_and_all_of_it_is_one_hole_in_the_end(sizes, data):
    arena = Arena(64 << 10)
    blocks = {}
    for size in sizes:
        try:
            offset = arena.allocate(size)
        except Problem:
            assert all(room < size for _, room in arena.holes)
        else:
            assert offset % ALIGNMENT == 0
            assert offset + size <= arena.nbytes
            for other, length in blocks.items():
                assert offset + size <= other or other + length <= offset
            blocks[offset] = size
        if blocks and data.draw(st.booleans()):
            offset = data.draw(st.sampled_from(sorted(blocks)))
            del blocks[offset]
            arena.free(offset)
        assert arena.used_bytes + sum(room for _, room in arena.holes) == arena.nbytes
    for offset in data.draw(st.permutations(sorted(blocks))):
        arena.free(offset)
    assert arena.holes == [(0, arena.nbytes)]
    assert arena.used_bytes == 0
    arena.close()


def test_a_full_arena_says_when_to_come_again():
    arena = Arena(64 << 10)
    arena.allocate(60 << 10)
    with pytest.raises(Problem) as caught:
        arena.allocate(8 << 10)
    assert caught.value.reason is Reason.OVERLOADED
    assert caught.value.retry_seconds is not None
    assert caught.value.metadata["needed_bytes"] == str(8 << 10)
    assert caught.value.metadata["limit_bytes"] == str(64 << 10)
    arena.close()


def test_what_is_larger_than_the_arena_is_refused_for_good():
    arena = Arena(64 << 10)
    with pytest.raises(Problem) as caught:
        arena.allocate((64 << 10) + 1)
    assert caught.value.reason is Reason.MEMORY_LIMIT
    assert caught.value.retry_seconds is None
    arena.close()


def test_freeing_what_is_not_allocated_is_a_bug_of_the_caller():
    arena = Arena(64 << 10)
    offset = arena.allocate(10)
    arena.free(offset)
    with pytest.raises(KeyError):
        arena.free(offset)
    arena.close()


def test_a_large_arena_takes_no_memory_until_it_is_written_to():
    arena = Arena(1 << 36)
    assert bytes_on_file(arena) == 0
    arena.close()


@pytest.mark.skipif(sys.platform != "linux", reason="pages go back on Linux only")
def test_pages_of_holes_go_back_to_the_kernel_and_those_of_blocks_stay():
    arena = Arena(256 << 20, keep_bytes=32 << 20)
    kept = arena.allocate(100)
    arena.memory[kept] = 7
    large = arena.allocate(100 << 20)
    behind = arena.allocate(100)
    np.frombuffer(arena.memory, np.uint8)[large : large + (100 << 20)] = 1
    arena.memory[behind] = 8
    assert bytes_on_file(arena) >= 100 << 20
    arena.free(large)
    assert bytes_on_file(arena) <= 64 << 20
    assert (arena.memory[kept], arena.memory[behind]) == (7, 8)
    arena.close()


@pytest.mark.skipif(sys.platform != "linux", reason="pages stay on Linux only")
def test_pages_within_the_bound_are_kept_for_the_next_block():
    arena = Arena(256 << 20)
    block = arena.allocate(100 << 20)
    np.frombuffer(arena.memory, np.uint8)[block : block + (100 << 20)] = 1
    arena.free(block)
    assert bytes_on_file(arena) >= 100 << 20
    arena.close()


@pytest.mark.skipif(sys.platform != "linux", reason="seals are Linux's")
def test_nobody_can_cut_the_memory_off():
    arena = Arena(64 << 10)
    with pytest.raises(PermissionError):
        os.ftruncate(arena.descriptor, 0)
    arena.close()


def test_arrays_outlive_the_arena_and_its_descriptor_does_not():
    arena = Arena(64 << 10)
    descriptor = arena.descriptor
    array = np.ndarray((4,), "float32", arena.memory, arena.allocate(16))
    array[...] = 3
    arena.close()
    arena.close()
    assert (array == 3).all()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)
    with pytest.raises(Problem) as caught:
        arena.memory[0]
    assert caught.value.reason is Reason.DRAINING


def test_another_mapping_of_the_descriptor_sees_the_same_bytes():
    arena = Arena(64 << 10)
    other = mmap.mmap(arena.descriptor, arena.nbytes)
    arena.memory[100] = 42
    assert other[100] == 42
    other.close()
    arena.close()


@given(ARRAYS, ARRAYS)
def test_the_arrays_of_a_layout_are_aligned_and_apart(arguments, results):
    layout = Layout.of(program(arguments, results))
    memory = np.zeros(layout.total_bytes, np.uint8)
    places = [*layout.arguments, *layout.results]
    for number, (place, spec) in enumerate(zip(places, (*arguments, *results), strict=True), 1):
        assert place.offset % ALIGNMENT == 0
        view = place.view(memory, 0)
        assert (view.dtype.name, view.shape) == (spec.dtype, spec.shape)
        raw = view.reshape(-1).view(np.uint8)
        assert not raw.any()
        raw[...] = number
    assert all(one.offset >= layout.argument_bytes for one in layout.results)
    assert layout.total_bytes % ALIGNMENT == 0


def test_layouts_keep_no_more_than_they_may():
    layouts = Layouts(2)
    for key in (b"a", b"b", b"c"):
        layouts.of(program(key=key))
    assert layouts.get(b"c") is not None
    assert layouts.get(b"a") is None


def test_no_file_is_left_behind():
    arena = Arena(64 << 10)
    if sys.platform == "linux":
        assert str(Path(f"/proc/self/fd/{arena.descriptor}").readlink()).startswith("/memfd:")
    assert os.fstat(arena.descriptor).st_nlink == 0
    arena.close()

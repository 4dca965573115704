import platform
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradserve_server.common.memory import ALIGNMENT, aligned, keep_freed_memory, move, round_up


@given(st.integers(1, 10_000))
def test_buffers_begin_where_xla_takes_them_as_they_are(nbytes):
    buffer = aligned(nbytes)
    assert buffer.nbytes == nbytes
    assert buffer.ctypes.data % ALIGNMENT == 0


@given(st.integers(0, 1 << 60))
def test_rounding_up_gives_the_next_multiple(nbytes):
    assert round_up(nbytes) % ALIGNMENT == 0
    assert nbytes <= round_up(nbytes) < nbytes + ALIGNMENT


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's malloc only")
def test_glibc_takes_the_settings():
    assert keep_freed_memory()


@pytest.mark.parametrize("shape", [(), (0,), (3, 5), (1 << 10, 1 << 10)])
def test_a_moved_array_is_whole_in_its_room_and_its_pages_are_gone(shape):
    array = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    expected, room = array.copy(), np.empty_like(array)
    array.flags.writeable = False
    move(array, room)
    np.testing.assert_array_equal(room, expected)
    if sys.platform == "linux" and array.nbytes > 1 << 20:
        # What the kernel took back reads as zeros.
        assert np.count_nonzero(array) < array.size / 100

"""Sizes that batches are padded to."""

from __future__ import annotations

import pytest

from gradserve_server.common.specs import ArraySpec, NetworkSource, ProgramSpec
from gradserve_server.compute.program import examples_of, may_be_padded, padded_size


def test_sizes_have_two_significant_bits_and_hold_the_batch() -> None:
    for examples in range(1, 5000):
        size = padded_size(examples)
        assert examples <= size < examples * 1.5
        assert size.bit_length() <= 2 or size % (1 << (size.bit_length() - 2)) == 0
        assert padded_size(size) == size


def test_two_hundred_sizes_are_sixteen() -> None:
    sizes = sorted({padded_size(examples) for examples in range(1, 201)})
    assert sizes == [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256]


@pytest.mark.parametrize("shapes", [((),), ((), (5, 2)), ((5, 2), (7,))], ids=["scalar", "scalar beside", "two sizes"])
def test_a_batch_without_one_number_of_examples_is_taken_as_it_is(shapes: tuple[tuple[int, ...], ...]) -> None:
    batch = tuple(ArraySpec(f"x{place}", "float32", shape) for place, shape in enumerate(shapes))
    spec = ProgramSpec(kind="gradients", network=NetworkSource("graph", b""), loss=b"", batch=batch, weights=())
    assert examples_of(spec) == 0
    assert not may_be_padded(spec)

"""Parameters start with the distribution that they ask for, whatever their shape and size."""

from __future__ import annotations

import math

import numpy as np
import pytest

from gradserve_server.compute import initializers
from gradserve_server.compute.initializers import HE_NORMAL, LECUN_NORMAL, Initializer

SHAPE = (40, 50, 60)


def drawn(
    initializer: Initializer, shape: tuple[int, ...] = SHAPE, *, seed: int = 0, name: str = "kernel", stacked: int = 0
) -> np.ndarray:
    return np.asarray(initializer.draw(seed, name, shape, stacked, np.float64))


@pytest.mark.parametrize(
    ("initializer", "deviation", "most"),
    [
        (Initializer("normal", 0.3), 0.3, math.inf),
        (Initializer("uniform", 0.3), 0.3 / math.sqrt(3), 0.3),
        (LECUN_NORMAL, math.sqrt(1 / 2000), 2.3 * math.sqrt(1 / 2000)),
        (HE_NORMAL, math.sqrt(2 / 2000), 2.3 * math.sqrt(2 / 2000)),
        (Initializer("variance_scaling", 1.0, fan="fan_out"), math.sqrt(1 / 2400), math.inf),
        (Initializer("variance_scaling", 1.0, fan="fan_avg", flat=True), math.sqrt(1 / 2200), math.sqrt(3 / 2200)),
        (Initializer("variance_scaling", 1.0, input_axis=-3, output_axis=(-2, -1)), math.sqrt(1 / 40), math.inf),
    ],
)
def test_means_deviations_and_bounds_are_those_of_the_distribution(
    initializer: Initializer, deviation: float, most: float
) -> None:
    values = drawn(initializer)
    assert values.mean() == pytest.approx(0, abs=4 * deviation / math.sqrt(values.size))
    assert values.std() == pytest.approx(deviation, rel=0.01)
    assert np.abs(values).max() <= most


def test_a_constant_is_one_number() -> None:
    np.testing.assert_array_equal(drawn(Initializer("constant", 1.5), (2, 3)), np.full((2, 3), 1.5))


def test_axes_that_count_layers_are_no_part_of_a_unit() -> None:
    layers = drawn(LECUN_NORMAL, (3, 200, 30), stacked=1)
    assert layers.std() == pytest.approx(math.sqrt(1 / 200), rel=0.02)
    assert not np.allclose(layers[0], layers[1])


@pytest.mark.parametrize("shape", [(), (1,), (50,)])
def test_a_vector_scales_by_its_size(shape: tuple[int, ...]) -> None:
    values = drawn(Initializer("variance_scaling", 1.0, flat=True), shape)
    assert values.shape == shape
    assert np.abs(values).max() <= math.sqrt(3 / math.prod(shape))


def test_seed_and_name_decide_and_nothing_else() -> None:
    np.testing.assert_array_equal(drawn(LECUN_NORMAL), drawn(LECUN_NORMAL))
    assert not np.allclose(drawn(LECUN_NORMAL), drawn(LECUN_NORMAL, seed=1))
    assert not np.allclose(drawn(LECUN_NORMAL), drawn(LECUN_NORMAL, name="other"))


def test_other_shapes_compile_nothing_and_large_ones_do_not_repeat() -> None:
    def compiled() -> int:
        return initializers._piece._cache_size()

    drawn(LECUN_NORMAL, (3, 4))
    large = drawn(LECUN_NORMAL, (600, 500))
    before = compiled()
    for shape in ((5, 6), (7, 8, 9), (601, 502)):
        drawn(LECUN_NORMAL, shape)
    assert compiled() == before
    assert np.unique(large).size > 0.999 * large.size

"""Convolutions with a kernel of equal numbers, of which XLA's own compilation for CPU reads what nobody wrote."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gradserve_server.compute.miscompiled import APART, is_miscompiled
from tests.unit.compute.onnx.models import forward

pytestmark = pytest.mark.skipif(jax.default_backend() != "cpu", reason="XLA for CPU is at fault")
GENERATOR = np.random.default_rng(0)
X = GENERATOR.uniform(size=(4, 64, 13, 13)).astype("float32")

FILLED = """(float[4,64,13,13] x) => (float[4,100,1,1] y) <int64[4] shape = {100,64,1,1}> {
    kernel = ConstantOfShape <value = float[1] {0.02}> (shape) h = Conv(x, kernel) y = GlobalAveragePool(h)
}"""


def test_means_of_a_convolution_with_a_filled_kernel_are_right() -> None:
    expected = np.repeat(0.02 * X.sum(1).mean((1, 2))[:, None], 100, 1)
    np.testing.assert_allclose(forward(FILLED, {"x": X})["y"][..., 0, 0], expected, rtol=1e-5)


def convolved(x: jax.Array, kernel: jax.Array) -> jax.Array:
    return jax.lax.conv(x, kernel, (1, 1), "VALID")


def of_filled_kernel(x: jax.Array) -> jax.Array:
    return convolved(x, jnp.full((100, 64, 1, 1), 0.02, x.dtype)).mean((2, 3))


def of_gradient_under_a_sum(x: jax.Array) -> jax.Array:
    gradient = jax.grad(lambda kernel: convolved(x, kernel).sum())(jnp.zeros((100, 64, 1, 1), x.dtype))
    return jnp.square(gradient).sum()


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (of_filled_kernel, np.repeat(0.02 * X.sum(1).mean((1, 2))[:, None], 100, 1)),
        (of_gradient_under_a_sum, 100 * np.square(X.sum((0, 2, 3))).sum()),
    ],
)
def test_what_is_miscompiled_is_found_and_compiled_apart(function: Any, expected: np.ndarray) -> None:
    lowered = jax.jit(function).lower(X)
    assert is_miscompiled(lowered.compile().as_text())
    apart = lowered.compile(compiler_options=APART)
    assert not is_miscompiled(apart.as_text())
    np.testing.assert_allclose(apart(X), expected, rtol=1e-5)

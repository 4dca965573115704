from collections.abc import Iterator

import jax
import pytest


@pytest.fixture(scope="package", autouse=True)
def strict_jax() -> Iterator[None]:
    """float64 as on the server, and no type or rank that changes in silence."""
    with jax.enable_x64(True), jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
        yield

from collections.abc import Iterator

import jax
import pytest


@pytest.fixture(scope="package", autouse=True)
def usual_jax(strict_jax: None) -> Iterator[None]:
    """The functions here are written as users of JAX write them."""
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield

from collections.abc import Iterator

import jax
import pytest


@pytest.fixture(scope="package", autouse=True)
def numpy_broadcasting(strict_jax: None) -> Iterator[None]:
    """ONNX broadcasts as NumPy does; types stay strict."""
    with jax.numpy_rank_promotion("allow"):
        yield

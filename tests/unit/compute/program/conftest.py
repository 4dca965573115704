from collections.abc import Iterator, Mapping
from typing import Any

import jax
import pytest

from tests.conformance.operations.graphs import QUICK


@pytest.fixture(scope="package", autouse=True)
def quick_compilation() -> Iterator[None]:
    """Only how fast programs compile, not what they compute: each runs a few times."""
    compile_lowered = jax.stages.Lowered.compile

    def compiled(lowered: Any, compiler_options: Mapping[str, Any] | None = None) -> Any:
        return compile_lowered(lowered, compiler_options={**(compiler_options or {}), **QUICK})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jax.stages.Lowered, "compile", compiled)
        yield

"""Programs as the server runs them, in its own way of using JAX; only how fast they compile is another matter."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import pytest

from tests.conformance.operations.graphs import QUICK


@contextlib.contextmanager
def quick_compilation() -> Iterator[None]:
    """Only how fast programs compile, not what they compute: each runs a few times."""
    compile_lowered = jax.stages.Lowered.compile

    def compiled(lowered: Any, compiler_options: Mapping[str, Any] | None = None) -> Any:
        return compile_lowered(lowered, compiler_options={**(compiler_options or {}), **QUICK})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jax.stages.Lowered, "compile", compiled)
        yield


@contextlib.contextmanager
def jax_as_on_the_server() -> Iterator[None]:
    """Programs promote as JAX does by default."""
    with (
        quick_compilation(),
        jax.enable_x64(True),
        jax.numpy_dtype_promotion("standard"),
        jax.numpy_rank_promotion("allow"),
    ):
        yield

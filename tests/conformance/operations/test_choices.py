"""Each operation in repeated blocks, under each choice of what is kept: gradients are those of keeping all."""

from __future__ import annotations

import numpy as np
import pytest
from msgspec import structs

from gradserve_server.common.specs import Checkpointing, Limits, Selection
from gradserve_server.common.tracing import Request
from gradserve_server.compute.executor import Executor
from tests.conformance.operations.rows import Row
from tests.conformance.operations.test_traces import CHUNKS, TURNS, case, compute, jax_as_on_the_server

__all__ = ["jax_as_on_the_server"]  # a fixture


@pytest.fixture(scope="module")
def executor() -> Executor:
    return Executor(Limits())


@pytest.mark.long
@pytest.mark.parametrize("rows", [pytest.param(rows, id=f"{rows[0].name} to {rows[-1].name}") for rows in CHUNKS])
def test_gradients_are_those_of_keeping_all(executor: Executor, rows: list[Row]) -> None:
    one = case(rows, TURNS)
    inputs = tuple(name for name, value in one.batch.items() if value.dtype == np.float64)
    asked = structs.replace(one.asked, kind="gradients", trace=Request(), selection=Selection(inputs=inputs))
    found = {}
    for choice in (Checkpointing.OFF, Checkpointing.PRODUCTS, Checkpointing.BLOCKS, Checkpointing.SQRT):
        options = structs.replace(asked.options, checkpointing=choice)
        groups, _ = compute(executor, structs.replace(asked, options=options), one)
        found[choice] = {**groups.get("gradient", {}), **groups["input_gradient"]}
    expected = found.pop(Checkpointing.OFF)
    # What is zero but for rounding is so in other digits.
    rounding = 1e-14 * max(np.max(np.abs(one), initial=1.0) for one in expected.values())
    for choice, gradients in found.items():
        assert gradients.keys() == expected.keys()
        for name, gradient in gradients.items():
            slack = 1e-6 * np.max(np.abs(expected[name]), initial=0.0) + rounding
            np.testing.assert_allclose(
                gradient,
                expected[name],
                rtol=1e-6,
                atol=slack,
                err_msg=f"{choice} {name}",
                strict=True,
            )

"""Derivatives of every kind with each choice of checkpointing: those without it."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest

import gradserve as gs
from gradserve_server.common.specs import Checkpointing, Matrix, Mode, Options, Selection
from tests.unit.compute.programs import compute, weights_of

NET = gs.sequential(
    gs.dense(4), gs.repeat([gs.dense(4), gs.tanh()], 4), gs.dense(2), x=gs.spec("batch", 3, dtype="float64")
)
WEIGHTS = weights_of(NET)
DRAWN = np.random.default_rng(0)
BATCH = {"x": DRAWN.normal(size=(4, 3)), "y": DRAWN.normal(size=(4, 2))}
VECTORS = {f"vector.{name}": DRAWN.normal(size=value.shape) for name, value in sorted(WEIGHTS.items())}
WAYS: dict[str, Any] = {
    "per example": {"kind": "gradients", "selection": Selection(inputs=("x",), per_example=True)},
    "clipped by example": {"kind": "gradients", "selection": Selection(clip_example_norm=0.5)},
    "Hessian": {"kind": "hessian_product", "vectors": VECTORS},
    "Gauss-Newton": {"kind": "hessian_product", "vectors": VECTORS, "matrix": Matrix.GAUSS_NEWTON},
}
LEAN = (
    Checkpointing.SQRT,
    pytest.param(Checkpointing.PRODUCTS, marks=pytest.mark.long),
    pytest.param(Checkpointing.BLOCKS, marks=pytest.mark.long),
)


@functools.cache
def computed(way: str, choice: Checkpointing) -> dict[str, Any]:
    options = Options(mode=Mode.INFERENCE, checkpointing=choice)
    arguments = dict(WAYS[way])
    found = compute(arguments.pop("kind"), NET, WEIGHTS, BATCH, gs.squared_error("y"), options=options, **arguments)
    return {name: value for name, value in found.items() if name in {"gradient", "input_gradient", "product"}}


@pytest.mark.parametrize("choice", LEAN)
@pytest.mark.parametrize("way", WAYS)
def test_derivatives_are_those_without_checkpointing(way: str, choice: Checkpointing) -> None:
    expected, found = computed(way, Checkpointing.OFF), computed(way, choice)
    assert expected
    for group, arrays in expected.items():
        assert any(np.any(value) for value in arrays.values())
        for name, value in arrays.items():
            np.testing.assert_allclose(found[group][name], value, rtol=1e-9, atol=1e-12, err_msg=name)

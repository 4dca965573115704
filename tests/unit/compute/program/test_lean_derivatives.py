"""Derivatives of every kind with each choice of checkpointing, and in parts: those without, of the whole batch."""

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
TANGENTS = {f"weight_{name.replace('vector', 'tangents')}": value for name, value in VECTORS.items()}
STACK = gs.cotangents({NET.outputs[0]: DRAWN.normal(size=(3, 4, 2))}, stacked=True)
WAYS: dict[str, Any] = {
    "per example": {"kind": "gradients", "selection": Selection(inputs=("x",), per_example=True)},
    "clipped by example": {"kind": "gradients", "selection": Selection(clip_example_norm=0.5)},
    "Hessian": {"kind": "hessian_product", "vectors": VECTORS},
    "stacked cotangents": {"kind": "gradients", "selection": Selection(inputs=("x",)), "loss": STACK},
    "Jacobian": {"kind": "jacobian_product", "vectors": TANGENTS, "loss": None},
    "forward": {"kind": "forward"},
    "Gauss-Newton": {"kind": "hessian_product", "vectors": VECTORS, "matrix": Matrix.GAUSS_NEWTON},
}
LEAN = (
    Checkpointing.SQRT,
    pytest.param(Checkpointing.PRODUCTS, marks=pytest.mark.long),
    pytest.param(Checkpointing.BLOCKS, marks=pytest.mark.long),
)


SHOWN = ("gradient", "input_gradient", "product", "output", "output_tangent", "example")


@functools.cache
def computed(way: str, choice: Checkpointing, parts: int = 1) -> dict[str, Any]:
    options = Options(mode=Mode.INFERENCE, checkpointing=choice, micro_batches=parts)
    arguments = {"loss": gs.squared_error("y"), **WAYS[way]}
    batch = {name: value for name, value in BATCH.items() if name == "x" or "loss" not in WAYS[way]}
    found = compute(arguments.pop("kind"), NET, WEIGHTS, batch, arguments.pop("loss"), options=options, **arguments)
    return {name: value for name, value in found.items() if name in SHOWN}


def assert_same(found: dict[str, Any], expected: dict[str, Any]) -> None:
    assert expected.keys() == found.keys()
    assert expected
    for group, arrays in expected.items():
        assert not arrays or any(np.any(value) for value in arrays.values())
        for name, value in arrays.items():
            np.testing.assert_allclose(found[group][name], value, rtol=1e-9, atol=1e-12, err_msg=name)


@pytest.mark.parametrize("choice", LEAN)
@pytest.mark.parametrize("way", WAYS)
def test_derivatives_are_those_without_checkpointing(way: str, choice: Checkpointing) -> None:
    assert_same(computed(way, choice), computed(way, Checkpointing.OFF))


@pytest.mark.parametrize("way", WAYS)
def test_derivatives_in_parts_are_those_of_the_whole_batch(way: str) -> None:
    """Of four examples in three parts, so that one is larger than the others."""
    assert_same(computed(way, Checkpointing.OFF, 3), computed(way, Checkpointing.OFF))

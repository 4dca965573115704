"""A Tesseract with the endpoints that the template for JAX has."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import equinox as eqx
from pydantic import BaseModel
from tesseract_core.runtime import Array, Differentiable, Float32, Int32
from tesseract_core.runtime.jax_recipes import jax_apply, jax_vjp

sys.path.insert(0, str(Path(__file__).parents[1]))

import mlp


class InputSchema(BaseModel):
    weights: dict[str, Differentiable[Array[..., Float32]]]
    x: Array[..., Float32]
    y: Array[..., Int32]


class OutputSchema(BaseModel):
    loss: Differentiable[Float32]


@eqx.filter_jit
def apply_jit(inputs: dict[str, Any]) -> dict[str, Any]:
    return {"loss": mlp.loss(inputs["weights"], inputs["x"], inputs["y"])}


def apply(inputs: InputSchema) -> OutputSchema:
    return OutputSchema(**jax_apply(apply_jit, inputs))


def vector_jacobian_product(
    inputs: InputSchema, vjp_inputs: set[str], vjp_outputs: set[str], cotangent_vector: dict[str, Any]
) -> Any:
    return jax_vjp(apply_jit, inputs, vjp_inputs, vjp_outputs, cotangent_vector)

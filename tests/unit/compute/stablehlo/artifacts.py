"""Artifacts for tests: honest ones as jax.export writes them, and forged ones that say one thing and hold another."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.export
from jax.interpreters import mlir
from jaxlib import _jax
from jaxlib.mlir import ir
from jaxlib.mlir.dialects import stablehlo

Shapes = Mapping[str, Sequence[int | str]]
Function = Callable[[dict[str, Any], dict[str, Any]], Any]


def forms(shapes: Shapes, dtype: str = "float32", scope: Any = None) -> dict[str, jax.ShapeDtypeStruct]:
    """Shapes by name, where a string is a size that the batch decides, as what jax.export takes."""
    scope = scope or jax.export.SymbolicScope()
    return {
        name: jax.ShapeDtypeStruct(
            jax.export.symbolic_shape(", ".join(map(str, shape)), scope=scope) if shape else (), dtype
        )
        for name, shape in shapes.items()
    }


def export(function: Function, weights: Any, inputs: Any, platforms: Sequence[str] = ("cpu",)) -> jax.export.Exported:
    """`function` exported for arguments of these forms."""
    return jax.export.export(jax.jit(function), platforms=platforms)(weights, inputs)


def product(weights: dict[str, Any], inputs: dict[str, Any]) -> dict[str, Any]:
    """The smallest function worth a gradient."""
    return {"y": inputs["x"] * weights["a"][None]}


def product_exported(platforms: Sequence[str] = ("cpu",)) -> jax.export.Exported:
    """`product` of four weights and any number of rows; main takes (weights, inputs), its derivative also y's."""
    return export(product, forms({"a": (4,)}), forms({"x": ("batch", 4)}), platforms)


def portable(text: str, version: str | None = None) -> bytes:
    """A module written as text, in the form in which artifacts hold it."""
    with mlir.make_ir_context():
        module = ir.Module.parse(text)
        return bytes(_jax.mlir.serialize_portable_artifact(module, version or stablehlo.get_current_version(), True))


def text(body: str = "", more: str = "", gives: str = "%x : tensor<?x4xf32>") -> str:
    """A function `main` with `body`, and `more` functions.

    As it stands it fits what `product_exported` says of itself. What nothing depends on is dropped when it is written
    as bytes, so that a `body` to look at must lead to what is given.
    """
    type_ = gives.partition(" : ")[2]
    return f"""func.func public @main(%a: tensor<4xf32>, %x: tensor<?x4xf32>) -> {type_} {{
        {body}
        return {gives}
    }}
    {more}"""


def main(body: str = "", more: str = "", gives: str = "%x : tensor<?x4xf32>") -> bytes:
    """The module of `text`."""
    return portable(text(body, more, gives))


def forged(module: bytes | None = None, derivative: bytes | None = None, order: int = 1, **claims: Any) -> bytes:
    """The artifact of `product` with modules and claims of the forger's own."""
    honest = product_exported()
    vjp = honest.vjp()
    if derivative is not None:
        vjp = dataclasses.replace(vjp, mlir_module_serialized=derivative)
    if module is not None:
        claims["mlir_module_serialized"] = module
    claims.setdefault("_get_vjp", lambda _: vjp)
    return bytes(dataclasses.replace(honest, **claims).serialize(vjp_order=order))

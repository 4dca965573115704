"""A function serialized by jax.export as a `Network`."""

from __future__ import annotations

import types
from collections.abc import Mapping
from typing import Any, final

import jax
import jax.numpy as jnp

from gradserve_server.common.errors import Problem, Reason, shorten
from gradserve_server.common.specs import Limits
from gradserve_server.compute.frontends.stablehlo.artifact import Artifact, read_artifact
from gradserve_server.compute.initializers import ZEROS
from gradserve_server.compute.network import Arrays, Capability, Context, Network, ParameterSpec, Signature

_LIMITATIONS = {
    Capability.FRESH_WEIGHTS: "The artifact does not say how its weights start: send them.",
    Capability.TRACE: (
        "A StableHLO artifact has no nodes: have it return the values that matter as outputs, or send the network as a "
        "native graph or ONNX."
    ),
    Capability.FORWARD_MODE: "jax.export keeps derivatives in reverse mode only.",
    Capability.SECOND_DERIVATIVES: "Export it with serialize(vjp_order=2).",
    Capability.PER_EXAMPLE: "A StableHLO artifact cannot be vectorized: send one example for each call.",
    Capability.PRECISION: "A StableHLO artifact computes in the types that it was exported with.",
    Capability.CHECKPOINTING: "The backward pass that a StableHLO artifact brings computes the forward pass again.",
}


def load_network(
    content: bytes, limits: Limits, field: str = "network.stablehlo", *, apart: bool = True
) -> StableHloNetwork:
    """The network in a function serialized by jax.export.

    The function takes two dictionaries, weights and inputs, and returns a dictionary of outputs. What lies in
    dictionaries in dictionaries, or in lists, is named by its path, such as ``dense_1/kernel``.

    Args:
        content: the artifact.
        limits: bounds on its size.
        field: its path in the request.
        apart: whether its modules are read in a process of their own, as a stranger's must be.

    Raises:
        Problem: it is no such function, is too large, or may do what a network must not.
    """
    return StableHloNetwork(read_artifact(content, limits, field, apart=apart), field)


@final
class StableHloNetwork(Network):
    """A function of JAX; see `Network`."""

    def __init__(self, artifact: Artifact, field: str) -> None:
        self._artifact = artifact
        self._field = field
        self.inputs = artifact.input_specs()
        self.outputs = artifact.outputs
        lacks = {
            one: why
            for one, why in _LIMITATIONS.items()
            if one is not Capability.SECOND_DERIVATIVES or artifact.order < 2
        }
        self.limitations = types.MappingProxyType(lacks)
        avals = (*artifact.function.in_avals, *artifact.function.out_avals)
        self.own_types = frozenset({"float64"} & {str(aval.dtype) for aval in avals})

    def signature(self, inputs: Mapping[str, jax.ShapeDtypeStruct], dtype: Any) -> Signature:
        if dtype == jnp.float64 and not self.own_types:
            raise Problem(
                Reason.DTYPE_MISMATCH,
                "the artifact computes in 32 bits, which cannot hold these weights",
                field="weights",
                given="float64",
                expected="float32",
                hint="Convert the weights, or export the function with float64 arguments.",
            )
        avals = self._artifact.function.in_avals
        parameters = {
            # Nothing is drawn from it: the network has no fresh weights.
            name: ParameterSpec(name, tuple(avals[index].shape), ZEROS)
            for name, index in self._artifact.weights.items()
        }
        weights = {name: jax.ShapeDtypeStruct(one.shape, dtype) for name, one in parameters.items()}
        outputs = jax.eval_shape(lambda *arrays: self._call(arrays[0], arrays[1], dtype), weights, dict(inputs))
        return Signature(parameters, {}, outputs, "")

    def apply(self, parameters: Arrays, statistics: Arrays, inputs: Arrays, context: Context) -> dict[str, jax.Array]:
        return self._call(parameters, inputs, context.dtype)

    def explain(self, error: Exception) -> Problem:
        # Only in compiling does it show whether sizes of this batch are those that the exporter allowed.
        return Problem(
            Reason.INVALID_NETWORK,
            f"the artifact cannot be compiled for this batch ({shorten(str(error), 200)})",
            field=self._field,
        )

    def _call(self, weights: Arrays, inputs: Arrays, dtype: Any) -> dict[str, jax.Array]:
        artifact, function = self._artifact, self._artifact.function
        leaves: list[jax.Array | None] = [None] * len(function.in_avals)
        for arrays, indices in ((weights, artifact.weights), (inputs, artifact.inputs)):
            for name, index in indices.items():
                leaves[index] = arrays[name].astype(function.in_avals[index].dtype)
        arguments, _ = jax.tree_util.tree_unflatten(function.in_tree, leaves)
        try:
            results = jax.tree_util.tree_leaves(function.call(*arguments))
        except ValueError as error:
            raise Problem(
                Reason.SHAPE_MISMATCH, f"the artifact does not take inputs of these sizes ({error})", field=self._field
            ) from None
        outputs = dict(zip(artifact.outputs, results, strict=True))
        return {
            name: value.astype(dtype) if jnp.issubdtype(value.dtype, jnp.floating) else value
            for name, value in outputs.items()
        }

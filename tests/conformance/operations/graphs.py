"""Graphs for tests, and the form in which tests look at networks: NumPy in, NumPy out, float64."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradserve.v1 import network_pb2, tensor_pb2
from gradserve_server.common.specs import Limits
from gradserve_server.compute.frontends.graph.network import GraphNetwork, load_network
from gradserve_server.compute.network import Context, Network, Signature

Arrays = Mapping[str, np.ndarray]
# Only how fast programs compile, not what they compute: each test runs its own a few times.
QUICK: dict[str, Any] = {
    "xla_backend_optimization_level": 0,
    "xla_llvm_disable_expensive_passes": True,
    "xla_cpu_use_fusion_emitters": False,
}


def node(name: str, inputs: str | Sequence[str] = (), *, share: str = "", **operation: Any) -> network_pb2.Node:
    """``node("h", "x", dense=network_pb2.Dense(units=3))``; inputs in one string are separated by blanks."""
    names = inputs.split() if isinstance(inputs, str) else inputs
    return network_pb2.Node(name=name, inputs=names, share=share, **operation)


def spec(name: str, shape: Sequence[int | str], dtype: Any = "float64") -> tensor_pb2.TensorSpec:
    """An input; sizes that are strings are names."""
    dimensions = [
        tensor_pb2.Dimension(symbol=size) if isinstance(size, str) else tensor_pb2.Dimension(size=size)
        for size in shape
    ]
    kind = tensor_pb2.DataType.Value(f"DATA_TYPE_{np.dtype(dtype).name.upper()}")
    return tensor_pb2.TensorSpec(name=name, data_type=kind, shape=dimensions)


def free(*names: str) -> list[tensor_pb2.TensorSpec]:
    """Inputs of a body, whose types and shapes are inferred."""
    return [tensor_pb2.TensorSpec(name=name) for name in names]


def graph(
    inputs: Sequence[tensor_pb2.TensorSpec], *nodes: network_pb2.Node, outputs: Sequence[str] = ()
) -> network_pb2.Graph:
    """A graph of these nodes."""
    return network_pb2.Graph(inputs=inputs, nodes=nodes, outputs=outputs)


def load(message: network_pb2.Graph) -> GraphNetwork:
    """The network of a graph."""
    return load_network(message.SerializeToString(), Limits())


@dataclasses.dataclass(frozen=True)
class Result:
    """Outputs, gradients of sum(output * cotangent) over the outputs, and statistics after the pass."""

    outputs: dict[str, np.ndarray]
    parameters: dict[str, np.ndarray]
    inputs: dict[str, np.ndarray]
    statistics: dict[str, np.ndarray]


def signature(network: Network, inputs: Arrays) -> Signature:
    """What the network needs for inputs of this form."""
    forms = {name: jax.ShapeDtypeStruct(value.shape, value.dtype) for name, value in inputs.items()}
    return network.signature(forms, jnp.float64)


def draw(found: Signature, generator: np.random.Generator) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Parameters and statistics, of which none is zero or one by default; variances are positive."""
    parameters = {name: generator.normal(0.3, 0.6, one.shape) for name, one in found.parameters.items()}
    statistics = {name: generator.uniform(0.5, 1.5, one.shape) for name, one in found.statistics.items()}
    return parameters, statistics


def run(
    network: Network,
    parameters: Arrays,
    statistics: Arrays,
    inputs: Arrays,
    *,
    training: bool = False,
    seed: int = 0,
    cotangents: Arrays | None = None,
    example_weights: np.ndarray | None = None,
) -> Result:
    """One pass forward and, with `cotangents`, back."""

    def forward(
        parameters: Any, floating: Any, others: Any
    ) -> tuple[dict[str, jax.Array], tuple[dict[str, jax.Array], dict[str, jax.Array]]]:
        context = Context(jnp.float64, training, jax.random.key(seed), example_weights)  # type: ignore[arg-type]
        outputs = network.apply(parameters, dict(statistics), {**floating, **others}, context)
        derived = {name: value for name, value in outputs.items() if jnp.issubdtype(value.dtype, jnp.floating)}
        rest = {name: value for name, value in outputs.items() if name not in derived}
        return derived, (rest, context.updated_statistics)

    def both(parameters: Any, floating: Any, others: Any, cotangents: Any) -> Any:
        if cotangents is None:
            return (*forward(parameters, floating, others), ({}, {}))
        derived, pull, (rest, updated) = jax.vjp(lambda p, f: forward(p, f, others), parameters, floating, has_aux=True)
        return derived, (rest, updated), pull({name: cotangents[name] for name in derived})

    floating = {name: value for name, value in inputs.items() if np.issubdtype(value.dtype, np.floating)}
    others = {name: value for name, value in inputs.items() if name not in floating}
    given = None if cotangents is None else dict(cotangents)
    compiled = jax.jit(both, compiler_options=QUICK)
    derived, (rest, updated), (by_parameter, by_input) = compiled(dict(parameters), floating, others, given)
    as_numpy = jax.tree.map(np.asarray, ({**derived, **rest}, by_parameter, by_input, updated))
    return Result(*as_numpy)

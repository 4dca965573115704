"""An ONNX model as a `Network`."""

from __future__ import annotations

import copy
import dataclasses
import re
import threading
from collections.abc import Mapping, Sequence
from typing import Any, final

import jax
import jax.export
import jax.numpy as jnp
import numpy as np

from gradserve_server.common.errors import Problem, Reason, ValuesNeeded
from gradserve_server.common.specs import Limits, SymbolicSpec
from gradserve_server.compute.frontends.onnx import bounds
from gradserve_server.compute.frontends.onnx.call import StaticNeeded
from gradserve_server.compute.frontends.onnx.checking import check_model
from gradserve_server.compute.frontends.onnx.definition import Graph, Model
from gradserve_server.compute.frontends.onnx.demand import Place, find_demand
from gradserve_server.compute.frontends.onnx.evaluation import as_output, run_graph
from gradserve_server.compute.frontends.onnx.frame import Counter, Frame
from gradserve_server.compute.frontends.onnx.parsing import parse_bytes, parse_text
from gradserve_server.compute.frontends.onnx.reading import read_model
from gradserve_server.compute.frontends.onnx.resolution import check_supported, count_nodes
from gradserve_server.compute.frontends.onnx.showing import Shown
from gradserve_server.compute.frontends.onnx.survey import unsupported_parts
from gradserve_server.compute.frontends.onnx.types import FLOATING
from gradserve_server.compute.network import Arrays, Capability, Context, Network, ParameterSpec, Signature
from gradserve_server.compute.precision import is_half

# Functions of sizes in JAX's syntax of symbolic shapes.
_RESERVED = frozenset({"floordiv", "mod", "max", "min", "non_negative"})


def load_network(content: bytes, limits: Limits, *, is_text: bool = False) -> OnnxNetwork:
    """The network in a serialized ``ModelProto``, or in ONNX text.

    Raises:
        Problem: the bytes are no model, or it asks for what is not served.
    """
    message = parse_text(content, limits) if is_text else parse_bytes(content, limits)
    try:
        model = read_model(message, limits)
    except Problem as problem:
        if problem.reason is Reason.UNSUPPORTED_OPERATION and (parts := unsupported_parts(message)):
            problem.metadata["unsupported"] = parts
        raise
    check_supported(model)
    check_model(model)
    count_nodes(model, limits.nodes, bounds.CALL_DEPTH)
    return OnnxNetwork(model, limits)


@final
class OnnxNetwork(Network):
    """An ONNX model; see `Network`.

    Its float initializers are parameters, with their values as defaults; other initializers, and those that decide
    shapes, are constants. Inputs that decide shapes are static: `specialized` fixes their values.
    """

    limitations: Mapping[Capability, str] = {
        Capability.FRESH_WEIGHTS: "An ONNX model comes with its weights; leave them out of the request to use those."
    }

    def __init__(self, model: Model, limits: Limits) -> None:
        self._model = model
        self._limits = limits
        self._values: Mapping[str, np.ndarray[Any, Any]] = {}
        self._demands = _Demands(model)
        self.inputs = _inputs(model.graph)
        self.outputs = model.graph.outputs
        self._has_double = any(one.dtype == "float64" for one in self.inputs) or any(
            array.dtype == np.float64 for array in model.graph.initializers.values()
        )
        self.own_types = frozenset({"float64"}) if self._has_double else frozenset()

    @property
    def static_inputs(self) -> tuple[str, ...]:
        return self._demands.static_inputs

    @property
    def own_weights(self) -> Mapping[str, np.ndarray[Any, Any]]:
        return self._demands.weights

    @property
    def irreversible(self) -> tuple[str, ...]:
        return tuple(sorted(self._demands.irreversible))

    def specialized(self, values: Mapping[str, np.ndarray[Any, Any]]) -> OnnxNetwork:
        other = copy.copy(self)
        other._values = dict(values)  # noqa: SLF001 (its own class)
        return other

    def signature(self, inputs: Mapping[str, jax.ShapeDtypeStruct], dtype: Any) -> Signature:
        parameters = {name: ParameterSpec(name, array.shape, None) for name, array in self.own_weights.items()}
        weights = {name: jax.ShapeDtypeStruct(array.shape, dtype) for name, array in self.own_weights.items()}

        def forward(parameters: Arrays, batch: Arrays) -> dict[str, jax.Array]:
            return self.apply(parameters, {}, batch, Context(dtype=dtype))

        return Signature(parameters, {}, jax.eval_shape(forward, weights, dict(inputs)), "")

    def apply(self, parameters: Arrays, statistics: Arrays, inputs: Arrays, context: Context) -> dict[str, jax.Array]:
        unknown = [name for name in self.static_inputs if name not in self._values]
        if unknown:
            raise ValuesNeeded(self.static_inputs)
        graph = self._model.graph
        frame = Frame(
            model=self._model,
            limits=self._limits,
            context=context,
            single=np.dtype(np.float32) if self._has_double and not is_half(context.dtype) else np.dtype(context.dtype),
            opsets=self._model.opsets,
            values={},
            attributes={},
            prefix="",
            counter=Counter(),
            unrolled=self._demands.loops,
            irreversible=self._demands.irreversible,
        )
        weights = {
            name: value.astype(frame.precise(self.own_weights[name].dtype)) for name, value in parameters.items()
        }
        batch = {spec.name: self._input(spec, inputs, frame) for spec in self.inputs}
        shown = None if context.tape is None else Shown(context.tape, batch, weights, graph.outputs)
        frame = dataclasses.replace(frame, shown=shown)
        try:
            results = run_graph(graph, list(batch.values()), frame, initializers=weights)
        except StaticNeeded as needed:
            raise self._needed(needed) from None
        outputs = {name: as_output(value) for name, value in zip(graph.outputs, results, strict=True)}
        return outputs if shown is None else {name: shown.output(name, value) for name, value in outputs.items()}

    def _input(self, spec: SymbolicSpec, inputs: Arrays, frame: Frame) -> Any:
        if spec.name in self._values:
            return frame.constant(self._values[spec.name])
        value = inputs[spec.name]
        if jnp.issubdtype(value.dtype, jnp.floating):
            value = value.astype(frame.precise(np.dtype(spec.dtype)))
        return value

    def _needed(self, needed: StaticNeeded) -> Exception:
        """What to raise where a value turned out to be needed at tracing: its sources, if they can be given."""
        if self._demands.add((needed.node, needed.index)):
            return ValuesNeeded(self.static_inputs)
        name = needed.node.inputs[needed.index] if needed.index < len(needed.node.inputs) else ""
        return Problem(
            Reason.UNSUPPORTED_OPERATION,
            f"{needed.node.operator}: its input '{name}' decides what is computed, so it must follow from shapes,"
            " constants and inputs alone",
            field="network",
            node=needed.node.name,
        )

    def symbolic_inputs(self) -> dict[str, jax.ShapeDtypeStruct]:
        """As the base, but names of dimensions can be any text."""
        names = sorted({size for spec in self.inputs for size in spec.shape if isinstance(size, str)})
        symbols = jax.export.symbolic_shape(", ".join(_identifiers(names))) if names else ()
        known = dict(zip(names, symbols, strict=True))
        return {
            spec.name: jax.ShapeDtypeStruct(
                tuple(known[size] if isinstance(size, str) else size for size in spec.shape), spec.dtype
            )
            for spec in self.inputs
        }


def _inputs(graph: Graph) -> tuple[SymbolicSpec, ...]:
    specs = []
    for name in graph.inputs:
        form = graph.forms.get(name)
        if form is None:
            raise Problem(
                Reason.UNSUPPORTED_OPERATION,
                "an input of the network is no tensor of a type that is served, or declares no shape",
                field="network",
                given=repr(name),
                expected="a tensor with a declared element type and number of axes",
            )
        specs.append(SymbolicSpec(name, form.dtype, form.shape))
    return tuple(specs)


def _identifiers(names: Sequence[str]) -> list[str]:
    """For each of `names` a word that JAX takes as a symbol: itself if it can be."""
    found: list[str] = []
    for name in names:
        word = re.sub(r"\W", "_", name, flags=re.ASCII)
        word = word if re.match(r"[A-Za-z_]", word) else f"_{word}"
        while word in found or (word != name and word in names) or word in _RESERVED:
            word += "_"
        found.append(word)
    return found


@final
class _Demands:
    """What must be known at tracing: shared by a network and its specializations, since they find out more."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._lock = threading.Lock()
        self._places: set[Place] = set()
        self.irreversible: set[str] = set()
        self._settle()

    def _settle(self) -> None:
        graph = self._model.graph
        demand = find_demand(self._model, self._places)
        self.loops = demand.loops
        self.static_inputs = tuple(name for name in graph.inputs if name in demand.inputs)
        self.weights = {
            name: array
            for name, array in graph.initializers.items()
            if array.dtype in FLOATING and name not in demand.initializers
        }

    def add(self, place: Place) -> bool:
        """Notes a place that needs to be known; gives whether anything else must be known now."""
        with self._lock:
            before = self.static_inputs, len(self.weights), self.loops
            self._places.add(place)
            self._settle()
            return (self.static_inputs, len(self.weights), self.loops) != before

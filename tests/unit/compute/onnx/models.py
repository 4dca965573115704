"""Models as ONNX text, run as the server runs them."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import onnx.parser

from gradserve.v1 import loss_pb2
from gradserve_server.common.errors import ValuesNeeded
from gradserve_server.common.specs import ArraySpec, Limits, NetworkSource, ProgramSpec, Selection, StaticValue
from gradserve_server.compute.executor import Executor
from gradserve_server.compute.frontends.onnx import OnnxNetwork, load_network

Arrays = dict[str, Any]

EXECUTOR = Executor(Limits())


def model(body: str, *, opset: int = 21, head: str = "") -> str:
    """ONNX text: `body` from the graph's signature on, functions after it."""
    return f'<ir_version: 10, opset_import: ["" : {opset}{head}]> graph {body}'


def load(body: str, *, limits: Limits = Limits(), **settings: Any) -> OnnxNetwork:  # noqa: B008
    return load_network(model(body, **settings).encode(), limits, is_text=True)


def serialized(body: str, **settings: Any) -> bytes:
    return onnx.parser.parse_model(model(body, **settings)).SerializeToString()


def _specs(arrays: Arrays) -> tuple[ArraySpec, ...]:
    return tuple(ArraySpec(name, np.dtype(array.dtype).name, array.shape) for name, array in sorted(arrays.items()))


def compute(source: NetworkSource, batch: Arrays, weights: Arrays, **fields: Any) -> dict[str, Arrays]:
    """What a program gives, by group and name; values that decide shapes are given where they are asked for."""
    spec = ProgramSpec(
        **{"kind": "forward", "loss": b"", "own_weights": True} | fields,
        network=source,
        batch=_specs(batch),
        weights=_specs(weights),
    )
    for _ in range(3):
        try:
            program = EXECUTOR.prepare(spec)
            break
        except ValuesNeeded as needed:
            static = tuple(
                StaticValue(one, batch[one.name].tobytes()) for one in spec.batch if one.name in needed.names
            )
            spec = msgspec.structs.replace(spec, static=static)
    arrays = [*(weights[name] for name in sorted(weights)), *(batch[name] for name in sorted(batch))]
    results, _ = EXECUTOR.run(program.key, arrays, 0, 0)
    found: dict[str, Arrays] = {}
    for result, array in zip(program.results, results, strict=True):
        found.setdefault(result.group, {})[result.array.name] = array
    return found


def forward(body: str, batch: Arrays, weights: Arrays | None = None, **settings: Any) -> Arrays:
    """Outputs by name."""
    source = NetworkSource("onnx_text", model(body, **settings).encode())
    return compute(source, batch, weights or {})["output"]


def gradients(body: str, batch: Arrays, weights: Arrays | None = None, *, output: str, **settings: Any) -> Arrays:
    """Gradients of the sum of an output, of all parameters and floating-point inputs that decide no shapes."""
    network = load(body, **settings)
    inputs = tuple(one.name for one in network.inputs if "float" in one.dtype and one.name not in network.static_inputs)
    loss = loss_pb2.Loss(output=loss_pb2.Loss.Output(prediction=output), reduction=loss_pb2.Loss.REDUCTION_SUM)
    found = compute(
        NetworkSource("onnx_text", model(body, **settings).encode()),
        batch,
        weights or {},
        kind="gradients",
        loss=loss.SerializeToString(),
        selection=Selection(inputs=inputs),
        shared=tuple(sorted(batch)),
    )
    return found.get("gradient", {}) | found.get("input_gradient", {})

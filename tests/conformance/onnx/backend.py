"""The server's own way of running a model as a backend of onnx's test runner: a prepared program, jitted and run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import onnx
import onnx.backend.base

from gradserve_server.common.errors import ValuesNeeded
from gradserve_server.common.specs import ArraySpec, Limits, NetworkSource, ProgramSpec, StaticValue
from gradserve_server.compute.executor import Executor

EXECUTOR = Executor(Limits(programs=4))


def plain_form(value: onnx.ValueInfoProto) -> bool:
    """Whether a value is a tensor of a type that the contract has."""
    plain = {*range(1, 8), *range(9, 14), onnx.TensorProto.BFLOAT16}
    return value.type.WhichOneof("value") == "tensor_type" and value.type.tensor_type.elem_type in plain


def is_plain(model: onnx.ModelProto) -> bool:
    """Whether a model takes and gives plain tensors only, and is in ONNX's own domain."""
    values = [*model.graph.input, *model.graph.output]
    return all(plain_form(one) for one in values) and not {node.domain for node in model.graph.node} - {"", "ai.onnx"}


class Prepared(onnx.backend.base.BackendRep):
    """A model that is run as the server runs it."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self._source = NetworkSource("onnx", model.SerializeToString())
        weights = {one.name for one in model.graph.initializer}
        self._inputs = [one.name for one in model.graph.input if one.name not in weights]
        self._outputs = [one.name for one in model.graph.output]

    def run(self, inputs: Sequence[Any], **_: Any) -> tuple[Any, ...]:
        given = [np.asarray(one) for one in inputs]
        batch = dict(sorted(zip(self._inputs, given, strict=False)))
        spec = ProgramSpec(
            kind="forward",
            network=self._source,
            loss=b"",
            batch=tuple(ArraySpec(name, array.dtype.name, array.shape) for name, array in batch.items()),
            weights=(),
            own_weights=True,
        )
        for _ in range(4):
            try:
                program = EXECUTOR.prepare(spec)
            except ValuesNeeded as needed:
                static = tuple(
                    StaticValue(one, batch[one.name].tobytes()) for one in spec.batch if one.name in needed.names
                )
                spec = msgspec.structs.replace(spec, static=static)
            else:
                break
        arrays, _ = EXECUTOR.run(program.key, list(batch.values()), 0, 0)
        found = {result.array.name: array for result, array in zip(program.results, arrays, strict=True)}
        return tuple(found[name] for name in self._outputs)


class ServedBackend(onnx.backend.base.Backend):
    """What onnx's runner asks of a backend."""

    @classmethod
    def is_compatible(cls, model: onnx.ModelProto, device: str = "CPU", **_: Any) -> bool:
        return is_plain(model)

    @classmethod
    def prepare(cls, model: onnx.ModelProto, device: str = "CPU", **_: Any) -> Prepared:
        return Prepared(model)

    @classmethod
    def supports_device(cls, device: str) -> bool:
        return device == "CPU"

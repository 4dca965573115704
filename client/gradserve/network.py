"""A network as a value: a definition in one of the contract's formats that does not change any more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, Self, final

import numpy as np

from gradserve.errors import InvalidRequest
from gradserve.tensors import DTypeLike, from_data_type, message_bytes, to_data_type, to_dtype
from gradserve.v1 import network_pb2, tensor_pb2

Format = Literal["graph", "onnx", "onnx_text", "stablehlo"]
"""What the bytes of a definition are: a graph of the contract, ONNX, ONNX as text, a function of jax.export."""

Shape = tuple[int | str, ...]
"""Sizes of the axes; a string such as ``"batch"`` names a size that the batch at hand decides."""


@final
@dataclass(frozen=True)
class Spec:
    """Shape and element type of an input."""

    shape: Shape
    dtype: np.dtype[Any]


def spec(*shape: int | str, dtype: DTypeLike = "float32") -> Spec:
    """Shape and element type of an input of `sequential`.

    Example:
        >>> gs.sequential(gs.flatten(), gs.dense(10), image=gs.spec("batch", 8, 8, dtype="uint8"))

    Args:
        shape: sizes of the axes; a string names a size that the batch decides. Equal names have
            equal sizes in one request.
        dtype: element type, such as ``"float32"``.

    Raises:
        InvalidRequest: a size is no positive integer, or the element type does not travel.
    """
    return Spec(shape_of(shape, "shape"), to_dtype(dtype))


@final
@dataclass(frozen=True)
class TensorInfo:
    """Name, element type and shape of an input, output, parameter or statistic.

    Attributes:
        name: its name.
        dtype: element type; None where it is inferred (bodies of blocks, custom losses).
        shape: sizes of the axes; a string names a size that the batch decides.
    """

    name: str
    dtype: np.dtype[Any] | None
    shape: Shape

    def __str__(self) -> str:
        return f"{self.name}: {self.dtype or 'any'}[{', '.join(str(size) for size in self.shape)}]"

    @staticmethod
    def from_message(message: tensor_pb2.TensorSpec) -> TensorInfo:
        """What the contract's message says."""
        return TensorInfo(
            message.name,
            from_data_type(message.data_type),
            tuple(one.symbol or one.size for one in message.shape),
        )


def tensor_spec(name: str, form: Spec | None) -> tensor_pb2.TensorSpec:
    """The contract's message for an input; without a form, type and shape are inferred."""
    if form is None:
        return tensor_pb2.TensorSpec(name=name)
    return tensor_pb2.TensorSpec(
        name=name,
        data_type=to_data_type(form.dtype),
        shape=[
            tensor_pb2.Dimension(symbol=size) if isinstance(size, str) else tensor_pb2.Dimension(size=size)
            for size in form.shape
        ],
    )


@final
@dataclass(frozen=True)
class _Definition:
    """A definition, and what is known of it where only the server can read it."""

    format: Format
    content: bytes
    inputs: tuple[TensorInfo, ...] = ()
    outputs: tuple[str, ...] = ()


@final
class Network:
    """A network: immutable, compared by its bytes.

    Made by `sequential`, `GraphBuilder`, `load`, `load_onnx`, `onnx_text` and `from_jax`.

    Example:
        >>> net = gs.sequential(gs.dense(10), x=("batch", 64))
        >>> net.inputs[0].shape
        ('batch', 64)
    """

    def __init__(self, graph: network_pb2.Graph | _Definition) -> None:
        known = graph if isinstance(graph, _Definition) else _Definition("graph", message_bytes(graph))
        self.format: Format = known.format
        self._bytes = known.content
        self._known = known
        self._hash = hash((known.format, known.content))

    @classmethod
    def imported(
        cls, format_: Format, content: bytes, inputs: tuple[TensorInfo, ...] = (), outputs: tuple[str, ...] = ()
    ) -> Self:
        """A network in a format that only the server reads.

        Args:
            format_: what the bytes are.
            content: the definition.
            inputs: what a batch must hold; empty where that is not known here.
            outputs: names of the outputs; empty where they are not known here.
        """
        return cls(_Definition(format_, content, inputs, outputs))

    @property
    def graph(self) -> network_pb2.Graph:
        """The contract's message, a copy.

        Raises:
            InvalidRequest: the network has another format, and no such message.
        """
        if self.format != "graph":
            raise InvalidRequest.because(
                "only a network of our own format has a graph", field="network", given=self.format, expected="graph"
            )
        return network_pb2.Graph.FromString(self._bytes)

    def to_bytes(self) -> bytes:
        """The definition in its format, always the same for equal networks."""
        return self._bytes

    @cached_property
    def name(self) -> str:
        """What logs and traces call it; may be empty."""
        return self.graph.name if self.format == "graph" else ""

    @cached_property
    def inputs(self) -> tuple[TensorInfo, ...]:
        """What a batch must hold for the network itself; targets belong to the loss.

        Empty where only the server can read the definition: `Client.describe` tells.
        """
        if self.format != "graph":
            return self._known.inputs
        return tuple(TensorInfo.from_message(one) for one in self.graph.inputs)

    @cached_property
    def outputs(self) -> tuple[str, ...]:
        """Names of the outputs; empty where only the server can read the definition."""
        if self.format != "graph":
            return self._known.outputs
        graph = self.graph
        return tuple(graph.outputs) or tuple(node.name for node in graph.nodes[-1:])

    @cached_property
    def input_dtypes(self) -> dict[str, np.dtype[Any] | None]:
        """Declared element types of the inputs, by name."""
        return {one.name: one.dtype for one in self.inputs}

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Network):
            return NotImplemented
        return (self.format, self._bytes) == (other.format, other._bytes)

    def __hash__(self) -> int:
        return self._hash

    def __reduce__(self) -> tuple[Any, ...]:
        return Network, (self._known,)

    def __repr__(self) -> str:
        if self.format != "graph" and not self.inputs:
            return f"Network({self.format}, {len(self._bytes):,} bytes)"
        title = f"{self.name!r}: " if self.name else ""
        inputs = ", ".join(str(one) for one in self.inputs)
        return f"Network({title}{inputs} -> {', '.join(self.outputs)})"


def form_of(shape: object, field: str) -> Spec:
    """The form of an input that was written as a `Spec` or as a tuple of sizes (float32).

    Raises:
        InvalidRequest: it is neither.
    """
    if isinstance(shape, Spec):
        return shape
    if isinstance(shape, (tuple, list)):
        return Spec(shape_of(shape, field), np.dtype(np.float32))
    raise InvalidRequest.because(
        "no shape of an input",
        field=field,
        given=repr(shape),
        expected='a tuple such as ("batch", 64), or gs.spec("batch", 64, dtype="float32")',
    )


def shape_of(shape: Sequence[object], field: str) -> Shape:
    """Sizes and names of axes, checked."""
    sizes: list[int | str] = []
    for size in shape:
        if isinstance(size, str) and size:
            sizes.append(size)
        elif isinstance(size, (int, np.integer)) and not isinstance(size, bool) and size > 0:
            sizes.append(int(size))
        else:
            raise InvalidRequest.because(
                "no size of an axis",
                field=field,
                given=repr(size),
                expected='an integer of at least 1, or a name such as "batch"',
            )
    return tuple(sizes)

"""What crosses the seam between front and worker: frozen values, checked when they are decoded.

They hold no protobuf and no JAX. Networks and losses travel as the bytes that the caller sent, so that parsing a
stranger's definition is the worker's risk and not the front's.
"""

from __future__ import annotations

import enum
import hashlib
import math
from typing import Literal

import ml_dtypes  # noqa: F401  (registers bfloat16 with numpy.dtype)
import msgspec
import numpy as np

from gradserve_server.common import tracing
from gradserve_server.common.errors import ProblemData
from gradserve_server.common.memory import MOST_TWICE_BYTES


class ArraySpec(msgspec.Struct, frozen=True, array_like=True):
    """Name, element type (as NumPy names it) and concrete shape of one array."""

    name: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        """Bytes of the array, as a Python integer that cannot overflow."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize

    def __str__(self) -> str:
        return describe(self.dtype, self.shape)


def describe(dtype: object, shape: tuple[object, ...]) -> str:
    """An array's form as errors write it, such as ``float32[batch, 64]``."""
    return f"{dtype}[{', '.join(str(size) for size in shape)}]"


class SymbolicSpec(msgspec.Struct, frozen=True, array_like=True):
    """Like `ArraySpec`, where an axis may also have a name such as ``batch``."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]

    def __str__(self) -> str:
        return describe(self.dtype, self.shape)


class NetworkSource(msgspec.Struct, frozen=True, array_like=True):
    """A network as it was sent.

    Attributes:
        format: what the bytes are.
        content: the bytes.
        hash: SHA-256 of the bytes in hexadecimal; worked out where it is not given.
    """

    format: Literal["graph", "onnx", "onnx_text", "stablehlo"]
    content: bytes
    hash: str = ""

    def __post_init__(self) -> None:
        if not self.hash:
            msgspec.structs.force_setattr(self, "hash", hashlib.sha256(self.content).hexdigest())


class Mode(enum.Enum):
    """How dropout and batch normalization behave; UNSPECIFIED is refused where it matters."""

    UNSPECIFIED = "unspecified"
    INFERENCE = "inference"
    TRAINING = "training"


class Checkpointing(enum.Enum):
    """What the forward pass keeps for the backward pass, from the fastest to the one that takes the least memory."""

    AUTOMATIC = "automatic"  # the first of those below that fits
    OFF = "off"
    PRODUCTS = "products"
    BLOCKS = "blocks"
    SQRT = "sqrt"


class Precision(enum.Enum):
    """Floating-point type of the forward pass, and of the backward pass with it."""

    FULL = "full"  # that of weights and loss
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"


class Matrix(enum.Enum):
    """Which second derivatives multiply a vector."""

    HESSIAN = "hessian"
    GAUSS_NEWTON = "gauss_newton"


class Selection(msgspec.Struct, frozen=True, array_like=True):
    """Which gradients come back, and how (`GradientSelection` of the contract)."""

    parameters: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ()
    without_parameters: bool = False
    summary_only: bool = False
    clip_global_norm: float = 0.0
    dtype: str | None = None
    per_example: bool = False
    clip_example_norm: float = 0.0
    example_summary: bool = False


class Options(msgspec.Struct, frozen=True, array_like=True):
    """How to compute (`ComputeOptions` of the contract, but for seed and loss scale, which are arguments of a run).

    There is one part where the batch is not divided. An exact batch is not padded.
    """

    mode: Mode = Mode.UNSPECIFIED
    checkpointing: Checkpointing = Checkpointing.AUTOMATIC
    precision: Precision = Precision.FULL
    micro_batches: int = 1
    exact_batch: bool = False


class StaticValue(msgspec.Struct, frozen=True, array_like=True):
    """The value of an input that decides what is computed."""

    array: ArraySpec
    data: bytes

    def read(self) -> np.ndarray:
        """The value as an array that cannot be written."""
        return np.frombuffer(self.data, np.dtype(self.array.dtype)).reshape(self.array.shape)


class ProgramSpec(msgspec.Struct, frozen=True, array_like=True):
    """Everything that a compiled program depends on. Equal specs share one program.

    Attributes:
        kind: what is computed.
        network: the network.
        loss: a serialized `Loss` without the arrays in it; empty where there is none.
        batch: the tensors of the batch, in order of name.
        weights: the weights that come with the request, in order of name; None where the worker draws them from a seed.
        own_weights: whether the network's own weights stand in for those that do not come with the request.
        selection: which gradients; of kind ``gradients`` only.
        options: how to compute.
        outputs: outputs to return, in the order of the request.
        shared: tensors of the batch without an axis of examples.
        vectors: further arrays that come with each request, in order of name: what is data in a loss or in the options,
            and tangents. Their names are their places in the request, such as ``loss.cotangents.by_output.logits``.
        static: values of the batch that the program depends on, where the worker has asked for them.
        trace: what is asked of a trace; of kind ``trace`` only.
        matrix: which second derivatives; of kind ``hessian_product`` only.
        padded: whether the batch has examples that were not sent, and says which; no caller asks for that.
        requests: how many of them one run has room for; where it is more than one, `Program` has all arrays stacked.
    """

    kind: Literal["gradients", "forward", "trace", "jacobian_product", "hessian_product"]
    network: NetworkSource
    loss: bytes
    batch: tuple[ArraySpec, ...]
    weights: tuple[ArraySpec, ...] | None
    selection: Selection = Selection()
    options: Options = Options()
    outputs: tuple[str, ...] = ()
    shared: tuple[str, ...] = ()
    vectors: tuple[ArraySpec, ...] = ()
    own_weights: bool = False
    static: tuple[StaticValue, ...] = ()
    trace: tracing.Request = tracing.Request()
    matrix: Matrix = Matrix.HESSIAN
    padded: bool = False
    requests: int = 1

    def key(self) -> bytes:
        """Stands for the spec, which holds a whole network and so is too large to keep."""
        # Megabytes of network are hashed once, not with each request that names them by digest.
        network = msgspec.structs.replace(self.network, content=b"")
        return hashlib.sha256(msgspec.msgpack.encode(msgspec.structs.replace(self, network=network))).digest()


# Name, below a sum of losses, of the vector that holds the weights of its terms.
TERM_WEIGHTS = "sum.weights"
# Place of the vector, a float64 scalar, that the loss is multiplied by on its way back, where that is in float16.
LOSS_SCALE = "options.loss_scale"


class ResultSpec(msgspec.Struct, frozen=True, array_like=True):
    """One array of an answer: the part of the answer it belongs to, and its form.

    Groups: ``numbers`` (one float64 vector, entries named by `Program.numbers`), ``gradient``, ``input_gradient``,
    ``output``, ``updated_statistic``, ``example`` (``losses`` and ``norms``), ``output_tangent``, ``product``; of a
    trace ``statistics`` (one matrix), ``value``, ``gradient``; of a run of many requests ``failed``.
    """

    group: str
    array: ArraySpec


# What one message can hold.
MOST_MESSAGE_BYTES = (1 << 31) - 1


class Footprint(msgspec.Struct, frozen=True, array_like=True):
    """Bytes that one run takes.

    Attributes:
        arguments: arrays that it takes.
        results: arrays that it gives.
        peak: on the device, by the compiler's own figures: arguments, results, temporaries.
        in_place: of the peak, arguments that the device takes from where they lie.
    """

    arguments: int
    results: int
    peak: int
    in_place: int = 0

    @property
    def needed(self) -> int:
        """All that a request takes: as it came, in the block that it runs on, and on the device beside that."""
        # The request holds the arguments, and names and shapes beside them.
        request = self.arguments + self.arguments // 64 + 4096
        # What no message holds comes in pieces, which are written to where the run takes them from.
        copied = self.arguments if self.arguments <= MOST_MESSAGE_BYTES else 0
        return request + copied + self.results + self.beside

    @property
    def least(self) -> int:
        """What it would take without any temporaries."""
        return msgspec.structs.replace(self, peak=self.in_place + self.results).needed

    @property
    def beside(self) -> int:
        """What a run takes on the device beside its block."""
        # A device with memory of its own keeps what is moved out of the host's.
        is_moved = self.in_place > 0 and self.results > MOST_TWICE_BYTES
        return self.peak - self.in_place - (self.results if is_moved else 0)


class Program(msgspec.Struct, frozen=True, array_like=True):
    """A compiled program, as the front knows it.

    Attributes:
        key: names it to the worker that compiled it.
        arguments: arrays that a run takes, in order: weights, then batch, then vectors.
        results: arrays that a run gives, in order.
        numbers: names of the entries of the result of group ``numbers``.
        peak_bytes: memory of one run on the device by the compiler's own figures: arguments, results, temporaries.
        in_place_bytes: of the peak, arguments that the device takes from where they lie; none if it has its own memory.
        compile_seconds: time that tracing and compiling took.
        layout: of a trace, what its results are.
        checkpointing: what is kept for the backward pass; None where there is none.
        padded_examples: of a program that pads its batch, to how many examples; 0 where it does not.
        is_fresh: whether it was compiled to be answered, and not found.
        can_group: whether requests may share a run.
        problems: of a program that runs many requests, what is wrong with one of them where its row of the last
            result, of group ``failed``, is true.
    """

    key: bytes
    arguments: tuple[ArraySpec, ...]
    results: tuple[ResultSpec, ...]
    numbers: tuple[str, ...]
    peak_bytes: int
    compile_seconds: float
    layout: tracing.Layout | None = None
    checkpointing: Checkpointing | None = None
    padded_examples: int = 0
    is_fresh: bool = True
    can_group: bool = False
    problems: tuple[ProblemData, ...] = ()
    in_place_bytes: int = 0

    @property
    def footprint(self) -> Footprint:
        """Bytes that one run takes."""
        arguments = sum(one.nbytes for one in self.arguments)
        results = sum(one.array.nbytes for one in self.results)
        return Footprint(arguments, results, self.peak_bytes, self.in_place_bytes)


class DescribeSpec(msgspec.Struct, frozen=True, array_like=True):
    """Asks what a network is, and with `dimensions` what a batch of that size costs."""

    network: NetworkSource
    dimensions: dict[str, int]
    loss: bytes
    selection: Selection
    options: Options
    vectors: tuple[ArraySpec, ...] = ()


class MemoryPlan(msgspec.Struct, frozen=True, array_like=True):
    """Peak bytes on the device with one checkpointing choice, and whether a request would be taken with it."""

    checkpointing: Checkpointing
    peak_bytes: int
    fits: bool


class Description(msgspec.Struct, frozen=True, array_like=True):
    """What a network is; `flops` and `memory` only if dimensions were given."""

    inputs: tuple[SymbolicSpec, ...]
    outputs: tuple[SymbolicSpec, ...]
    parameters: tuple[ArraySpec, ...]
    statistics: tuple[ArraySpec, ...]
    flops: int | None
    memory: tuple[MemoryPlan, ...]


class Limits(msgspec.Struct, frozen=True, array_like=True):
    """Bounds on what a definition may ask for; checked in Python integers before anything is allocated."""

    nodes: int = 20_000
    definition_bytes: int = 16 << 20
    block_depth: int = 16
    repeat: int = 100_000
    axes: int = 16
    elements: int = 1 << 40
    memory_bytes: int = 1 << 34
    programs: int = 256
    pad_batches: bool = False


class Platform(msgspec.Struct, frozen=True, array_like=True):
    """What a worker computes on, and what it knows."""

    platform: str
    devices: tuple[str, ...]
    operations: tuple[str, ...]
    onnx_operators: tuple[str, ...]
    losses: tuple[str, ...]
    versions: dict[str, str]

"""A worker that computes y = w x and the gradient of its sum with NumPy: real and small, to see the front by itself."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Sequence

import msgspec
import numpy as np

from gradserve.v1 import gradient_service_pb2 as service
from gradserve.v1 import tensor_pb2
from gradserve_server.common.specs import (
    ArraySpec,
    DescribeSpec,
    Description,
    NetworkSource,
    Platform,
    Program,
    ProgramSpec,
    ResultSpec,
)
from gradserve_server.worker.interface import Block, Content, ProgramMissing, Region, Run, Seeds, Worker


class OwnBlock(Block):
    def __init__(self, arguments: tuple[np.ndarray, ...]) -> None:
        self.arguments = arguments
        self.flat = tuple(one.reshape(-1).view(np.uint8).data for one in arguments)

    def close(self) -> None:
        self.arguments = ()


class OwnRegion(Region):
    def __init__(self, nbytes: int) -> None:
        self.memory = memoryview(bytearray(nbytes))

    def close(self) -> None:
        self.memory = memoryview(b"")


def nothing(_call: str) -> None:
    """Lets a call go on."""


class ScalingWorker(Worker):
    """Loss sum(w x) of the weight `w` and the batch's `x`.

    Args:
        peak_bytes: what its programs claim to need.
        before: called with the name of each call before it does anything; what it raises, the call raises.
    """

    ready = True

    def __init__(self, peak_bytes: int = 64, before: Callable[[str], None] = nothing) -> None:
        self.calls: list[str] = []
        self.held: set[bytes] = set()
        self.lock = threading.Lock()
        self._peak_bytes = peak_bytes
        self._before = before

    def _begin(self, call: str) -> None:
        with self.lock:
            self.calls.append(call)
        self._before(call)

    def platform(self) -> Platform:
        self._begin("platform")
        return Platform("numpy", ("cpu:0",), ("multiply",), (), ("output",), {"numpy": np.__version__})

    def prepare(self, spec: ProgramSpec) -> Program:
        self._begin("prepare")
        key = hashlib.sha256(msgspec.msgpack.encode(spec)).digest()
        self.held.add(key)
        results = (
            ResultSpec("numbers", ArraySpec("numbers", "float64", (4,))),
            ResultSpec("gradient", ArraySpec("w", "float32", ())),
            ResultSpec("input_gradient", ArraySpec("x", "float32", spec.batch[0].shape)),
            ResultSpec("output", ArraySpec("y", "float32", spec.batch[0].shape)),
        )
        numbers = ("loss", "global_norm", "finite", "norm:w")
        return Program(key, (*(spec.weights or ()), *spec.batch), results, numbers, self._peak_bytes, 0.01)

    def region(self, nbytes: int) -> Region:
        return OwnRegion(nbytes)

    def in_place(self, array: np.ndarray) -> bool:
        return False

    def allocate(self, program: Program, contents: Sequence[Content] = ()) -> Block:
        return OwnBlock(tuple(np.empty(one.shape, one.dtype) for one in program.arguments))

    def run(self, program: Program, block: Block, seeds: Seeds) -> Run:
        self._begin("run")
        if program.key not in self.held:
            raise ProgramMissing
        weight, x = block.arguments
        gradient = x.sum(dtype=np.float32)
        numbers = np.array([(weight * x).sum(), abs(gradient), np.isfinite(gradient), abs(gradient)])
        return Run((numbers, gradient.reshape(()), np.full_like(x, weight), weight * x), 0.25)

    def describe(self, spec: DescribeSpec) -> Description:
        self._begin("describe")
        one = ArraySpec("w", "float32", ())
        return Description((), (), (one,), (), None, ())

    def initialize(self, network: NetworkSource, seed: int) -> bytes:
        self._begin("initialize")
        return network.content + bytes([seed])

    def close(self) -> None:
        """Nothing to stop."""


def tensor(array: object, dtype: str = "float32") -> tensor_pb2.Tensor:
    values = np.asarray(array, dtype)
    kind = tensor_pb2.DataType.Value(f"DATA_TYPE_{dtype.upper()}")
    return tensor_pb2.Tensor(data_type=kind, shape=values.shape, data=values.tobytes())


def gradients_request(x: object = (1.0, 2.0)) -> service.ComputeGradientsRequest:
    """A request that `ScalingWorker` can answer, with w = 3."""
    request = service.ComputeGradientsRequest()
    request.network.serialized_graph = b"w x"
    request.weights.tensors.by_name["w"].CopyFrom(tensor(3.0))
    request.batch["x"].CopyFrom(tensor(x))
    request.loss.output.SetInParent()
    return request

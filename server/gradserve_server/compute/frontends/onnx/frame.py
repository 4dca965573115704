"""Where an evaluation stands: what is known by name, in which opset, under what limits."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, MutableMapping
from typing import Any

import numpy as np

from gradserve_server.common.errors import Problem, Reason
from gradserve_server.common.specs import Limits
from gradserve_server.compute.frontends.onnx.definition import Model, Node, Opsets
from gradserve_server.compute.frontends.onnx.showing import Shown
from gradserve_server.compute.frontends.onnx.table import Value
from gradserve_server.compute.frontends.onnx.types import dtype_of
from gradserve_server.compute.network import Context


@dataclasses.dataclass
class Counter:
    """How many nodes have been evaluated: unrolled loops and expanded functions count with every turn."""

    nodes: int = 0


@dataclasses.dataclass(frozen=True)
class Frame:
    """One graph or function body under evaluation.

    Attributes:
        model: what is evaluated.
        limits: bounds.
        context: of the network's application.
        single: what the model's float32 is in this evaluation.
        opsets: in force here.
        values: by name; what encloses a graph is seen through it.
        attributes: of the enclosing function.
        prefix: of the paths of its nodes.
        counter: shared by all frames of one evaluation.
        unrolled: loops to unroll, since they give what must be known at tracing.
        irreversible: takes paths of loops that no gradient can pass.
        shown: what a tape sees; None where none looks, or inside of loops and branches that are traced once.
    """

    model: Model
    limits: Limits
    context: Context
    single: np.dtype[Any]
    opsets: Opsets
    values: MutableMapping[str, Value]
    attributes: Mapping[str, Any]
    prefix: str
    counter: Counter
    unrolled: frozenset[Node]
    irreversible: set[str]
    shown: Shown | None = None

    def path(self, node: Node) -> str:
        """Where a node is, for people."""
        return f"{self.prefix}{node.name}"

    def dtype(self, number: int, *, node: str = "") -> np.dtype[Any]:
        """NumPy's type of an element type of ONNX, in the precision of this evaluation."""
        return self.precise(dtype_of(number, field="network", node=node))

    def precise(self, dtype: np.dtype[Any]) -> np.dtype[Any]:
        """`dtype`, in the precision of this evaluation."""
        return self.single if dtype == np.float32 else dtype

    def constant(self, array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """A tensor of the model, in the precision of this evaluation."""
        return array.astype(self.precise(array.dtype), copy=False)

    def check_elements(self, shape: tuple[Any, ...], node: Node) -> None:
        """Refuses a value of this shape if it is too large."""
        if all(isinstance(size, int) for size in shape) and math.prod(shape) > self.limits.elements:
            raise Problem(
                Reason.TOO_LARGE,
                f"{node.operator}: the result is too large",
                field="network",
                node=self.path(node),
                given=f"{list(shape)}, {math.prod(shape)} elements",
                expected=f"at most {self.limits.elements}",
            )

    def count(self, node: Node) -> None:
        """Counts the evaluation of a node."""
        self.counter.nodes += 1
        if self.counter.nodes > self.limits.nodes:
            raise Problem(
                Reason.TOO_LARGE,
                "functions and unrolled loops make too many nodes of the model",
                field="network",
                node=self.path(node),
                expected=f"at most {self.limits.nodes}",
            )

"""What every front-end makes of its bytes: a signature and a pure function."""

from __future__ import annotations

import abc
import dataclasses
import enum
import types
from collections.abc import Mapping
from typing import Any, TypeAlias

import jax
import jax.export
import numpy as np

from gradserve_server.common.errors import Problem, Reason, near
from gradserve_server.common.specs import SymbolicSpec, describe
from gradserve_server.compute.initializers import Initializer
from gradserve_server.compute.tape import Tape

Arrays: TypeAlias = Mapping[str, jax.Array]


@dataclasses.dataclass(frozen=True)
class ParameterSpec:
    """A parameter: its whole shape, of which the first `stacked` axes count turns of repeated blocks.

    It has no initializer where its network comes with weights of its own.
    """

    name: str
    shape: tuple[int, ...]
    initializer: Initializer | None
    stacked: int = 0


@dataclasses.dataclass(frozen=True)
class StatisticSpec:
    """A weight without gradient, such as a running mean, and the number that it starts with."""

    name: str
    shape: tuple[int, ...]
    initial: float


@dataclasses.dataclass(frozen=True)
class Signature:
    """What a network takes and gives for inputs of one form.

    Attributes:
        parameters: by name, in forward order.
        statistics: by name, in forward order.
        outputs: form of each output; axes may be symbolic where the inputs' are.
        mode_matters: path of a node that behaves differently in training, or empty.
    """

    parameters: Mapping[str, ParameterSpec]
    statistics: Mapping[str, StatisticSpec]
    outputs: Mapping[str, jax.ShapeDtypeStruct]
    mode_matters: str


@dataclasses.dataclass(frozen=True)
class Check:
    """A condition on data that only shows when a program runs: `failed` is a boolean scalar."""

    failed: jax.Array
    problem: Problem


@dataclasses.dataclass
class Context:
    """What an application of a network needs beside data, and what it leaves behind.

    Attributes:
        dtype: floating-point type of the forward pass; floating inputs are converted to it.
        training: whether dropout and batch statistics are on.
        key: random key of the request; None where nothing is random.
        example_weights: weights [batch] that batch statistics leave examples out by; None for all ones.
        tape: what named values are shown to; None where nobody looks.
        updated_statistics: left behind by the application, by name.
        checks: left behind by the application.
    """

    dtype: Any
    training: bool = False
    key: jax.Array | None = None
    example_weights: jax.Array | None = None
    tape: Tape | None = None
    updated_statistics: dict[str, jax.Array] = dataclasses.field(default_factory=dict)
    checks: list[Check] = dataclasses.field(default_factory=list)


class Capability(enum.Enum):
    """What not every format can have beside outputs and gradients of a loss; the value is what errors call it."""

    FRESH_WEIGHTS = "fresh weights"
    TRACE = "values and gradients at its nodes"
    FORWARD_MODE = "forward-mode derivatives"
    SECOND_DERIVATIVES = "second derivatives"
    PER_EXAMPLE = "a gradient for each example"
    PRECISION = "another floating-point type than its own"
    CHECKPOINTING = "a choice of what the forward pass keeps"


class Network(abc.ABC):
    """A network definition, loaded and checked as far as that goes without shapes.

    Attributes:
        inputs: what a batch must hold for it.
        outputs: names of what it gives.
        limitations: the capabilities that it lacks, each with the reason and what to do about it.
        own_types: floating-point types that it asks for itself, beside those of weights and inputs.
    """

    inputs: tuple[SymbolicSpec, ...]
    outputs: tuple[str, ...]
    limitations: Mapping[Capability, str] = types.MappingProxyType({})
    own_types: frozenset[str] = frozenset()

    @property
    def own_weights(self) -> Mapping[str, np.ndarray[Any, Any]]:
        """Weights that the definition brings, for those that a request does not."""
        return {}

    @property
    def static_inputs(self) -> tuple[str, ...]:
        """Inputs whose values decide what is computed: `specialized` must fix them before a program is built."""
        return ()

    @property
    def irreversible(self) -> tuple[str, ...]:
        """Paths of nodes that no gradient can pass backwards, as far as applications have found any."""
        return ()

    def specialized(self, values: Mapping[str, np.ndarray[Any, Any]]) -> Network:
        """The network with the static inputs fixed to `values`."""
        if values:
            raise TypeError("this network has no static inputs")
        return self

    @abc.abstractmethod
    def signature(self, inputs: Mapping[str, jax.ShapeDtypeStruct], dtype: Any) -> Signature:
        """Runs the network abstractly on inputs of this form (concrete or symbolic) and tells what it found."""

    @abc.abstractmethod
    def apply(self, parameters: Arrays, statistics: Arrays, inputs: Arrays, context: Context) -> dict[str, jax.Array]:
        """Outputs by name; pure but for what it leaves in `context`."""

    def explain(self, error: Exception) -> Problem | None:  # noqa: ARG002
        """What an error of the compiler says of the network; None where the server would be at fault."""
        return None

    def require(self, capability: Capability, field: str = "network") -> None:
        """Refuses what asks for `capability` where the network lacks it.

        Raises:
            Problem: UNSUPPORTED_BY_NETWORK, with the reason.
        """
        reason = self.limitations.get(capability)
        if reason is not None:
            raise Problem(
                Reason.UNSUPPORTED_BY_NETWORK,
                f"this network cannot have {capability.value}",
                field=field,
                hint=reason,
                metadata={"capability": capability.name},
            )

    def symbolic_inputs(self) -> dict[str, jax.ShapeDtypeStruct]:
        """Inputs with their named dimensions as symbols that JAX can reckon with."""
        names = sorted({size for spec in self.inputs for size in spec.shape if isinstance(size, str)})
        symbols = dict(zip(names, jax.export.symbolic_shape(", ".join(names)), strict=True)) if names else {}
        return {
            spec.name: jax.ShapeDtypeStruct(
                tuple(symbols[size] if isinstance(size, str) else size for size in spec.shape),
                spec.dtype,
            )
            for spec in self.inputs
        }

    def bound_inputs(self, dimensions: Mapping[str, int], field: str = "dimensions") -> dict[str, jax.ShapeDtypeStruct]:
        """Inputs with each named dimension at the size that `dimensions` gives it."""
        needed = {size for spec in self.inputs for size in spec.shape if isinstance(size, str)}
        for name in dimensions:
            if name not in needed:
                raise Problem(
                    Reason.UNKNOWN_NAME,
                    "no input has a dimension of this name",
                    field=field,
                    given=repr(name),
                    hint=near(name, sorted(needed)),
                )
        missing = sorted(needed - set(dimensions))
        if missing:
            raise Problem(
                Reason.MISSING_FIELD,
                "a dimension has no size",
                field=field,
                expected=", ".join(missing),
            )
        return {
            spec.name: jax.ShapeDtypeStruct(
                tuple(dimensions[size] if isinstance(size, str) else size for size in spec.shape),
                spec.dtype,
            )
            for spec in self.inputs
        }


def bind(specs: tuple[SymbolicSpec, ...], given: Mapping[str, jax.ShapeDtypeStruct]) -> dict[str, int]:
    """Sizes of the named dimensions of `specs`, from the tensors given.

    Raises:
        Problem: a tensor is missing, of another type or rank, or two axes of one name differ.
    """
    sizes: dict[str, int] = {}
    origin: dict[str, str] = {}
    for spec in specs:
        field = f"batch.{spec.name}"
        if spec.name not in given:
            raise Problem(
                Reason.MISSING_TENSOR,
                "the network's input is not in the batch",
                field=field,
                given=", ".join(sorted(given)) or "nothing",
                expected=str(spec),
            )
        tensor = given[spec.name]
        form = describe(tensor.dtype, tensor.shape)
        if str(tensor.dtype) != spec.dtype:
            raise Problem(
                Reason.DTYPE_MISMATCH,
                "wrong element type",
                field=field,
                given=form,
                expected=str(spec),
            )
        if len(tensor.shape) != len(spec.shape):
            raise Problem(
                Reason.SHAPE_MISMATCH,
                "wrong number of axes",
                field=field,
                given=form,
                expected=str(spec),
            )
        for size, wanted in zip(tensor.shape, spec.shape, strict=True):
            if isinstance(wanted, str):
                bound = sizes.setdefault(wanted, size)
                origin.setdefault(wanted, spec.name)
                if bound != size:
                    raise Problem(
                        Reason.SHAPE_MISMATCH,
                        f"dimension '{wanted}' is {bound} in '{origin[wanted]}' and {size} here",
                        field=field,
                        given=form,
                        expected=str(spec),
                    )
            elif size != wanted:
                raise Problem(
                    Reason.SHAPE_MISMATCH,
                    "wrong shape",
                    field=field,
                    given=form,
                    expected=str(spec),
                )
    return sizes

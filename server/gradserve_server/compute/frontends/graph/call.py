"""What an operation sees of the walk: its attributes, its inputs, and a way to ask for parameters."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from gradserve.v1 import network_pb2
from gradserve_server.common.errors import Problem, Reason
from gradserve_server.common.specs import describe
from gradserve_server.compute import precision
from gradserve_server.compute.initializers import Initializer
from gradserve_server.compute.network import Check

if TYPE_CHECKING:
    from gradserve_server.compute.frontends.graph.definition import Node
    from gradserve_server.compute.frontends.graph.scope import Scope

# A number takes the type of what it is combined with, and so stays a Python float until then.
Value: TypeAlias = jax.Array | float

Attributes = TypeVar("Attributes")


@dataclasses.dataclass(frozen=True)
class AppliedBlock:
    """An earlier block of the same graph, as it was applied.

    Attributes:
        inputs: by the names that its body has for them, in order.
        keys: of the inputs and of its parameters, as a tape knows them.
        first_output: its first output for other inputs in the same order; leaves nothing behind.
    """

    inputs: Mapping[str, Value]
    keys: tuple[str, ...]
    first_output: Callable[[Sequence[Value]], jax.Array]


@dataclasses.dataclass(frozen=True)
class Call(Generic[Attributes]):
    """One application of one operation.

    Attributes:
        node: the node, for its name and place.
        attributes: the operation's message, all of its fields checked to be known.
        inputs: values of its inputs.
        direct: for each input, whether it came with the batch as it is (see `check_index`).
        scope: where parameters, statistics and random keys come from.
        blocks: earlier blocks of the same graph, by name.
        used: what it was computed from beside its inputs, in order: key and role, which is the last part of a
            parameter's name.
    """

    node: Node
    attributes: Attributes
    inputs: tuple[Value, ...]
    direct: tuple[bool, ...]
    scope: Scope
    blocks: Mapping[str, AppliedBlock]
    used: list[tuple[str, str]] = dataclasses.field(default_factory=list)

    @property
    def training(self) -> bool:
        """Whether the network trains."""
        return self.scope.context.training

    @property
    def dtype(self) -> Any:
        """Floating-point type of the forward pass."""
        return self.scope.context.dtype

    def array(self, index: int = 0) -> jax.Array:
        """An input as an array of whatever type it has."""
        return as_array(self.inputs[index], self.dtype)

    def floating(self, index: int = 0) -> jax.Array:
        """An input that must be of floating-point type."""
        array = self.array(index)
        if not jnp.issubdtype(array.dtype, jnp.floating):
            raise self.refuse_input(index, "it takes floating-point numbers", "Put a `cast` before it.", "float32[...]")
        return array

    def integer(self, index: int = 0) -> jax.Array:
        """An input that must be of integer type."""
        array = self.array(index)
        if not jnp.issubdtype(array.dtype, jnp.integer):
            raise self.refuse_input(index, "it takes integers", "", "int32[...]")
        return array

    def mask(self, index: int) -> jax.Array:
        """An input of any type as booleans: where it is not 0."""
        array = self.array(index)
        return array if array.dtype == jnp.bool_ else array != 0

    def parameter(
        self,
        name: str,
        shape: Sequence[int],
        default: Initializer,
        chosen: network_pb2.Initializer | None = None,
        *,
        wide: bool = False,
    ) -> jax.Array:
        """The parameter ``<node>/<name>`` in the type of the forward pass.

        Args:
            name: last part of its name; the parameter is ``<node>`` itself if empty.
            shape: its shape in one layer.
            default: how it starts.
            chosen: how it starts instead, if that is set.
            wide: whether it comes in at least 32 bits.
        """
        initializer = default
        if chosen is not None and chosen.WhichOneof("distribution"):
            initializer = self._initializer(chosen, default)
        path = f"{self.node.owner}/{name}" if name else self.node.owner
        self.used.append((path, name))
        dtype = precision.wide(self.dtype) if wide else self.dtype
        return self.scope.parameter(self.node, path, tuple(shape), initializer).astype(dtype)

    def statistic(self, name: str, shape: Sequence[int], initial: float) -> jax.Array:
        """The statistic ``<node>/<name>``, as last updated, in at least 32 bits."""
        path = f"{self.node.owner}/{name}"
        return self.scope.statistic(self.node, path, tuple(shape), initial).astype(precision.wide(self.dtype))

    def update_statistic(self, name: str, value: jax.Array) -> None:
        """Leaves the new value of the statistic ``<node>/<name>`` behind."""
        self.scope.update_statistic(f"{self.node.owner}/{name}", value)

    def depends_on_mode(self) -> None:
        """Says that the result is another one in training."""
        self.scope.mode_matters(self.node.path)

    def key(self) -> jax.Array:
        """A random key of this node's own."""
        return self.scope.key(self.node.path)

    def axis(self, axis: int, rank: int, field: str) -> int:
        """`axis` counted from the front, refused where there is no such axis."""
        if not -rank <= axis < rank:
            raise self.refuse(field, "there is no such axis", given=str(axis), expected=f"{-rank} to {rank - 1}")
        return axis % rank

    def required_axis(self, rank: int) -> int:
        """The attribute ``axis`` counted from the front, refused where it is not set or there is no such axis."""
        message: Any = self.attributes
        if not message.HasField("axis"):
            raise Problem(Reason.MISSING_FIELD, "the axis is not set", field=f"{self.node.field}.axis")
        return self.axis(message.axis, rank, "axis")

    def positive(self, field: str) -> int:
        """An attribute that must be at least 1."""
        value: int = getattr(self.attributes, field)
        if value < 1:
            raise self.refuse(field, "not a size", given=str(value), expected="at least 1")
        return value

    def finite(self, field: str, default: float) -> float:
        """An optional floating-point attribute, refused where it is not a number."""
        message: Any = self.attributes
        value: float = getattr(message, field) if message.HasField(field) else default
        if not math.isfinite(value):
            raise self.refuse(field, "not a finite number", given=str(value))
        return value

    def check_index(self, index: int, size: int) -> jax.Array:
        """An integer input that counts in `size`: an error where it came with the batch, clamped where computed."""
        indices = self.integer(index)
        if self.direct[index]:
            failed = jnp.any((indices < 0) | (indices >= size))
            problem = Problem(
                Reason.INDEX_OUT_OF_RANGE,
                "an index is out of range",
                field=f"batch ({self.node.inputs[index]})",
                node=self.node.path,
                expected=f"0 to {size - 1}",
            )
            self.scope.context.checks.append(Check(failed, problem))
        return jnp.clip(indices, 0, size - 1)

    def refuse(self, field: str, message: str, *, given: str = "", expected: str = "", hint: str = "") -> Problem:
        """A problem with an attribute."""
        place = f"{self.node.field}.{field}" if field else self.node.field
        return Problem(
            Reason.INVALID_NODE,
            message,
            field=place,
            node=self.node.path,
            given=given,
            expected=expected,
            hint=hint,
        )

    def refuse_input(self, index: int, message: str, hint: str = "", expected: str = "") -> Problem:
        """A problem with an input."""
        return Problem(
            Reason.INVALID_NODE,
            f"input {index} ('{self.node.inputs[index]}'): {message}",
            field=self.node.field,
            node=self.node.path,
            given=form(self.inputs[index]),
            expected=expected,
            hint=hint,
        )

    def _initializer(self, chosen: network_pb2.Initializer, default: Initializer) -> Initializer:
        kind = chosen.WhichOneof("distribution")
        if kind == "variance_scaling":
            scaling = chosen.variance_scaling
            scale = scaling.scale if scaling.HasField("scale") else 1.0
            if not (math.isfinite(scale) and scale > 0):
                raise self.refuse("kernel_initializer", "not a scale", given=str(scale), expected="more than 0")
            modes = network_pb2.VarianceScaling
            fan = {modes.MODE_FAN_OUT: "fan_out", modes.MODE_FAN_AVERAGE: "fan_avg"}.get(scaling.mode, "fan_in")
            return dataclasses.replace(
                default,
                kind="variance_scaling",
                value=scale,
                fan=fan,  # type: ignore[arg-type]
                flat=scaling.uniform,
            )
        value = getattr(chosen, kind)
        if not math.isfinite(value) or (kind != "constant" and value < 0):
            raise self.refuse("initializer", "not a number to start from", given=str(value))
        return Initializer(kind, value)


def as_array(value: Value, dtype: Any) -> jax.Array:
    """A value as an array; a bare number takes `dtype`."""
    return jnp.asarray(value, dtype) if isinstance(value, float) else value


def form(value: Value) -> str:
    """Type and shape of a value, as errors write it."""
    return "a number" if isinstance(value, float) else describe(value.dtype, value.shape)


def promote(call: Call[Any], values: Sequence[Value]) -> list[jax.Array]:
    """`values` in one element type: the widest floating type among them, else the one integer type.

    Numbers take the type of the others. Booleans count as what they meet.
    """
    arrays = [value for value in values if not isinstance(value, float)]
    if not arrays:
        return [jnp.asarray(value, call.dtype) for value in values]
    dtype: Any = arrays[0].dtype
    for array in arrays[1:]:
        dtype = jnp.promote_types(dtype, array.dtype)
    numbers = [value for value in values if isinstance(value, float)]
    if not jnp.issubdtype(dtype, jnp.floating) and any(not number.is_integer() for number in numbers):
        dtype = call.dtype
    if jnp.issubdtype(dtype, jnp.integer):
        bounds = np.iinfo(dtype)
        for number in numbers:
            if not bounds.min <= number <= bounds.max:
                raise call.refuse("", "a number does not fit the integers", given=str(number), expected=str(dtype))
    return [
        jnp.asarray(
            int(value) if isinstance(value, float) and jnp.issubdtype(dtype, jnp.integer) else value,
            dtype,
        )
        for value in values
    ]

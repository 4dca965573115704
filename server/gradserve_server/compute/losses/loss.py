"""A loss as it was sent, checked as far as that goes without data; and its evaluation."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, final

import jax
import jax.numpy as jnp
from google.protobuf.message import DecodeError

from gradserve.v1 import loss_pb2
from gradserve_server.common.errors import Problem, Reason, near
from gradserve_server.common.specs import Limits, describe
from gradserve_server.common.unknown_fields import refuse_unknown
from gradserve_server.compute.frontends.graph.custom import CustomGraph
from gradserve_server.compute.losses.formulas import FORMULAS, NAMES, OVER_CLASSES, Operands
from gradserve_server.compute.losses.reduction import Reduction, fit_weights, reduce
from gradserve_server.compute.network import Context

Arrays = Mapping[str, jax.Array]

_REDUCTIONS: dict[int, Reduction] = {
    loss_pb2.Loss.REDUCTION_UNSPECIFIED: "mean",
    loss_pb2.Loss.REDUCTION_MEAN: "mean",
    loss_pb2.Loss.REDUCTION_SUM: "sum",
    loss_pb2.Loss.REDUCTION_SUM_THEN_MEAN: "sum_then_mean",
}


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class LossValue:
    """What a loss came to.

    Attributes:
        loss: scalar.
        weight_sum: scalar, see `reduction.reduce`; of a sum, that of its first term, by which parts of a batch can be
            combined if all terms have the same weights.
        terms: of a sum, the terms before their weights, by name.
    """

    loss: jax.Array
    weight_sum: jax.Array
    terms: dict[str, jax.Array]


def load_loss(content: bytes, limits: Limits, field: str = "loss") -> Loss:
    """The loss in a serialized ``Loss``.

    Raises:
        Problem: the bytes are no loss, or it does not hold together.
    """
    try:
        message = loss_pb2.Loss.FromString(content)
    except DecodeError as error:
        raise Problem(Reason.MALFORMED_REQUEST, f"not a serialized Loss ({error})", field=field) from None
    refuse_unknown(message, field)
    return _read(message, field, limits)


def sum_of_outputs(outputs: tuple[str, ...]) -> Loss:
    """The sum of all elements of the outputs named."""
    total = loss_pb2.Loss(reduction=loss_pb2.Loss.REDUCTION_SUM)
    terms = []
    for name in outputs:
        message = loss_pb2.Loss(output=loss_pb2.Loss.Output(prediction=name))
        message.reduction = total.reduction
        terms.append(_Term(name, Loss(message, "loss", (), None), 1.0))
    return Loss(loss_pb2.Loss(sum=loss_pb2.Loss.Sum()), "loss", tuple(terms), None)


@dataclasses.dataclass(frozen=True)
class _Term:
    name: str
    loss: Loss
    weight: float


@final
class Loss:
    """A loss.

    Attributes:
        weights_names: tensors of the batch used as example weights, in any term.
        tensors: names that it may take from the batch.
    """

    def __init__(
        self, message: loss_pb2.Loss, field: str, terms: tuple[_Term, ...], custom: CustomGraph | None
    ) -> None:
        self._message = message
        self._kind = message.WhichOneof("formula") or ""
        self._field = f"{field}.{self._kind}"
        self._place = field
        self._terms = terms
        self._custom = custom
        own = (message.example_weights,) if message.example_weights else ()
        inner = (name for term in terms for name in term.loss.weights_names)
        self.weights_names: tuple[str, ...] = tuple(dict.fromkeys((*own, *inner)))
        target = getattr(getattr(message, self._kind), "target", "")
        names = {*self.weights_names, *(name for term in terms for name in term.loss.tensors)}
        self.tensors: frozenset[str] = frozenset(
            names | ({target} if target else set()) | set(custom.inputs if custom else ())
        )

    def evaluate(self, outputs: Arrays, batch: Arrays, parameters: Arrays, context: Context) -> LossValue:
        """The loss of these outputs and targets; conditions on data are left in `context.checks`."""
        if self._terms:
            return self._sum(outputs, batch, parameters, context)
        weights = self._weights(batch)
        field = f"batch.{self._message.example_weights}"
        fitted = None
        if self._custom is not None:
            if weights is not None:
                outputs, batch = finite_where_unweighted(outputs, weights), finite_where_unweighted(batch, weights)
            values = self._custom.apply(outputs, batch, parameters, context)
            if weights is not None:
                fitted = fit_weights(weights, values.shape, field).astype(values.dtype)
        else:
            prediction = self._prediction(outputs)
            target, target_field = self._target(outputs, batch)
            if weights is not None:
                shape = prediction.shape[:-1] if self._kind in OVER_CLASSES else prediction.shape
                fitted = fit_weights(weights, shape, field).astype(prediction.dtype)
            counts = None if fitted is None else fitted != 0
            message = getattr(self._message, self._kind)
            operands = Operands(message, self._field, prediction, target, target_field, counts, context.checks)
            values = FORMULAS[self._kind](operands)
        loss, weight_sum = reduce(values, fitted, _REDUCTIONS[self._message.reduction])
        return LossValue(loss, weight_sum, {})

    def target_forms(self, outputs: Mapping[str, jax.ShapeDtypeStruct]) -> dict[str, jax.ShapeDtypeStruct]:
        """Forms of the tensors of the batch that this loss would take for outputs of these forms.

        Raises:
            Problem: a graph of the caller's own does not say what it takes.
        """
        if self._custom is not None:
            unknown = sorted(set(self._custom.inputs) - set(outputs))
            if unknown:
                raise Problem(
                    Reason.UNSUPPORTED_LOSS,
                    "the cost of a custom loss that takes tensors of the batch is not known without them",
                    field=self._field,
                    given=", ".join(unknown),
                )
        forms: dict[str, jax.ShapeDtypeStruct] = {}
        for term in self._terms:
            forms |= term.loss.target_forms(outputs)
        if self._kind in FORMULAS:
            prediction = outputs[self._output_name(outputs)]
            target = getattr(getattr(self._message, self._kind), "target", "")
            if target in outputs:
                target = ""
            if target and self._kind in OVER_CLASSES:
                forms[target] = jax.ShapeDtypeStruct(prediction.shape[:-1], jnp.int32)
            elif target:
                forms[target] = jax.ShapeDtypeStruct(prediction.shape, prediction.dtype)
            if self._message.example_weights:
                forms[self._message.example_weights] = jax.ShapeDtypeStruct(prediction.shape[:1], prediction.dtype)
        return forms

    def _sum(self, outputs: Arrays, batch: Arrays, parameters: Arrays, context: Context) -> LossValue:
        values = {term.name: term.loss.evaluate(outputs, batch, parameters, context) for term in self._terms}
        dtype = max((value.loss.dtype for value in values.values()), key=lambda one: one.itemsize)
        total = jnp.zeros((), dtype)
        for term in self._terms:
            # A term of weight 0 is there to be watched: it may be infinite.
            if term.weight:
                total += jnp.asarray(term.weight, dtype) * values[term.name].loss.astype(dtype)
        first = values[self._terms[0].name]
        return LossValue(total, first.weight_sum, {name: value.loss for name, value in values.items()})

    def _weights(self, batch: Arrays) -> jax.Array | None:
        name = self._message.example_weights
        if not name:
            return None
        if name not in batch:
            raise _missing(name, batch)
        return batch[name]

    def _output_name(self, outputs: Mapping[str, Any]) -> str:
        name: str = getattr(self._message, self._kind).prediction or next(iter(outputs))
        if name not in outputs:
            raise Problem(
                Reason.UNKNOWN_NAME,
                "the network has no such output",
                field=f"{self._field}.prediction",
                given=repr(name),
                hint=near(name, outputs),
            )
        return name

    def _prediction(self, outputs: Arrays) -> jax.Array:
        prediction = outputs[self._output_name(outputs)]
        if not jnp.issubdtype(prediction.dtype, jnp.floating):
            raise Problem(
                Reason.DTYPE_MISMATCH,
                "a loss needs a floating-point prediction",
                field=f"{self._field}.prediction",
                given=describe(prediction.dtype, prediction.shape),
            )
        return prediction.astype(jnp.float64 if prediction.dtype == jnp.float64 else jnp.float32)

    def _target(self, outputs: Arrays, batch: Arrays) -> tuple[jax.Array | None, str]:
        """The target and its place; the batch comes first, so that no output is a target by accident."""
        message = getattr(self._message, self._kind)
        if "target" not in message.DESCRIPTOR.fields_by_name:
            return None, ""
        if not message.target:
            raise Problem(Reason.MISSING_FIELD, "the target is not named", field=f"{self._field}.target")
        if message.target in batch:
            return batch[message.target], f"batch.{message.target}"
        if message.target in outputs:
            return outputs[message.target], f"{self._field}.target"
        raise _missing(message.target, batch)


def finite_where_unweighted(tensors: Arrays, weights: jax.Array) -> Arrays:
    """`tensors` with a 1 for each number that is not finite where its example, or position, has weight 0.

    A graph of the caller's own cannot be masked from within; what is finite stays, as the graph may mix positions.
    """
    result = dict(tensors)
    for name, values in tensors.items():
        if not jnp.issubdtype(values.dtype, jnp.floating):
            continue
        axes = weights.ndim
        while axes and weights.shape[:axes] != values.shape[:axes]:
            axes -= 1
        if not axes:
            continue
        absent = jnp.all((weights == 0).reshape(*weights.shape[:axes], -1), axis=-1)
        absent = absent.reshape(absent.shape + (1,) * (values.ndim - axes))
        replaced = jnp.broadcast_to(absent, values.shape) & ~jnp.isfinite(values)
        result[name] = jnp.where(replaced, jnp.ones((), values.dtype), values)
    return result


def _missing(name: str, batch: Arrays) -> Problem:
    return Problem(
        Reason.MISSING_TENSOR,
        "the loss takes it, and it is not in the batch",
        field=f"batch.{name}",
        given=", ".join(sorted(batch)) or "nothing",
        hint=near(name, batch),
    )


def _read(message: loss_pb2.Loss, field: str, limits: Limits) -> Loss:
    kind = message.WhichOneof("formula")
    if kind is None:
        raise Problem(Reason.MISSING_FIELD, "the loss has no formula", field=field, expected=", ".join(sorted(NAMES)))
    if kind not in NAMES:
        raise Problem(
            Reason.UNSUPPORTED_LOSS,
            f"the loss '{kind}' is not served yet",
            field=f"{field}.{kind}",
            given=kind,
            hint=f"Served are: {', '.join(sorted(NAMES))}.",
            metadata={"loss": kind},
        )
    if kind == "custom":
        graph = message.custom.graph.SerializeToString(deterministic=True)
        return Loss(message, field, (), CustomGraph.load(graph, limits, f"{field}.custom.graph"))
    if kind == "sum":
        return Loss(message, field, _read_terms(message, field, limits), None)
    if getattr(getattr(message, kind), "target", None) == "":
        raise Problem(Reason.MISSING_FIELD, "the target is not named", field=f"{field}.{kind}.target")
    return Loss(message, field, (), None)


def _read_terms(message: loss_pb2.Loss, field: str, limits: Limits) -> tuple[_Term, ...]:
    if message.reduction or message.example_weights:
        name = "reduction" if message.reduction else "example_weights"
        raise Problem(Reason.INVALID_LOSS, "a sum has none of its own: its terms have", field=f"{field}.{name}")
    if not message.sum.terms:
        raise Problem(Reason.MISSING_FIELD, "a sum needs at least one term", field=f"{field}.sum.terms")
    terms: list[_Term] = []
    for index, term in enumerate(message.sum.terms):
        place = f"{field}.sum.terms[{index}]"
        if not term.name:
            raise Problem(Reason.MISSING_FIELD, "a term needs a name", field=f"{place}.name")
        if any(term.name == other.name for other in terms):
            raise Problem(
                Reason.DUPLICATE_NAME, "another term has this name", field=f"{place}.name", given=repr(term.name)
            )
        weight = term.weight if term.HasField("weight") else 1.0
        if not math.isfinite(weight):
            raise Problem(Reason.INVALID_VALUE, "not a finite number", field=f"{place}.weight", given=str(weight))
        if term.loss.WhichOneof("formula") == "sum":
            raise Problem(Reason.INVALID_LOSS, "a term may not be a sum itself", field=f"{place}.loss")
        terms.append(_Term(term.name, _read(term.loss, f"{place}.loss", limits), weight))
    return tuple(terms)

"""A loss that has a formula: prediction and target in, a value for each element or position, one number of all."""

from __future__ import annotations

from typing import Any, final

import jax
import jax.numpy as jnp

from gradserve.v1 import loss_pb2
from gradserve_server.common.errors import Problem, Reason
from gradserve_server.common.specs import describe
from gradserve_server.compute.calculus import bind
from gradserve_server.compute.calculus import losses as calculus
from gradserve_server.compute.losses.formulas import FORMULAS, Operands
from gradserve_server.compute.losses.loss import Forms, Loss, Tensors, Unreduced, computing_type, output_name
from gradserve_server.compute.losses.weighting import Weighting
from gradserve_server.compute.network import Context
from gradserve_server.compute.tape import Tape


@final
class FormulaLoss(Loss):
    """A row of `formulas.FORMULAS`.

    Args:
        message: the loss as it was sent.
        kind: name of the formula.
        field: its path in the request.

    Raises:
        Problem: the target is not named.
    """

    def __init__(self, message: loss_pb2.Loss, kind: str, field: str) -> None:
        self._kind = kind
        self._formula = FORMULAS[kind]
        self._message: Any = getattr(message, kind)
        self._field = f"{field}.{kind}"
        self._weighting = Weighting.read(message)
        names = set(self._weighting.names)
        if self._formula.target:
            if not self._target_name:
                raise Problem(
                    Reason.MISSING_FIELD, "the target is not named", field=f"{self._field}.{self._formula.target}"
                )
            names.add(self._target_name)
        self.weights_names = self._weighting.names
        self.tensors = frozenset(names)

    def unreduced(self, tensors: Tensors, context: Context) -> list[Unreduced]:
        weights = self._weighting.weights(tensors)
        prediction = self._prediction(tensors)
        target, target_field = self._target(tensors)
        if weights is not None:
            shape = prediction.shape[:-1] if self._formula.over_classes else prediction.shape
            fitted = self._weighting.fit(weights, shape).astype(prediction.dtype)
            weights = self._formula.weights(fitted)
        counts = None if weights is None else weights != 0
        operands = Operands(self._message, self._field, prediction, target, target_field, counts, context.checks)
        values = self._formula.values(operands)
        if context.tape is not None:
            self._show(tensors, values, context.tape)
        return [self._weighting.of(values, weights)]

    def _show(self, tensors: Tensors, values: jax.Array, tape: Tape) -> None:
        """Tells a tape what the loss is computed from, and what it adds to the gradients of that."""
        keys = {"prediction": output_name(self._message.prediction, tensors.outputs, self._field)}
        if self._formula.target:
            name = self._target_name
            keys["target"] = tape.of_batch(name) if name in tensors.batch else name
        if self._weighting.name:
            keys["weights"] = tape.of_batch(self._weighting.name)
        options = {
            field.name: float(value) for field, value in self._message.ListFields() if not isinstance(value, str)
        }
        terms = calculus.formula(self._kind, options, self._weighting.factor(values))
        tape.loss(tuple(keys.values()), bind(terms, tuple(keys)))

    def target_forms(self, outputs: Forms) -> dict[str, jax.ShapeDtypeStruct]:
        prediction = outputs[output_name(self._message.prediction, outputs, f"{self._field}.prediction")]
        forms: dict[str, jax.ShapeDtypeStruct] = {}
        if self._formula.target and self._target_name not in outputs:
            classes = self._formula.over_classes and not self._formula.of_probabilities
            shape, dtype = (prediction.shape[:-1], jnp.int32) if classes else (prediction.shape, prediction.dtype)
            forms[self._target_name] = jax.ShapeDtypeStruct(shape, dtype)
        for name in self._weighting.names:
            forms[name] = jax.ShapeDtypeStruct(prediction.shape[:1], prediction.dtype)
        return forms

    @property
    def _target_name(self) -> str:
        name: str = getattr(self._message, self._formula.target)
        return name

    def _prediction(self, tensors: Tensors) -> jax.Array:
        field = f"{self._field}.prediction"
        prediction = tensors.outputs[output_name(self._message.prediction, tensors.outputs, field)]
        if not jnp.issubdtype(prediction.dtype, jnp.floating):
            raise Problem(
                Reason.DTYPE_MISMATCH,
                "a loss needs a floating-point prediction",
                field=field,
                given=describe(prediction.dtype, prediction.shape),
            )
        return prediction.astype(computing_type(prediction))

    def _target(self, tensors: Tensors) -> tuple[jax.Array | None, str]:
        """The target and its place; the batch comes first, so that no output is a target by accident."""
        if not self._formula.target:
            return None, ""
        name = self._target_name
        if name not in tensors.batch and name in tensors.outputs:
            return tensors.outputs[name], f"{self._field}.{self._formula.target}"
        return tensors.of_batch(name), f"batch.{name}"

"""The formulas: prediction and target in, one value for each element or position out.

Each is given what counts: `counts` is false where the weight is 0, and there prediction and target are replaced by
numbers that no formula minds, before it is computed. Masking its result alone would leave 0 * inf in the gradient.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax

from gradserve_server.common.errors import Problem, Reason
from gradserve_server.common.specs import describe
from gradserve_server.compute.network import Check
from gradserve_server.compute.ops.softmax import rounded


@dataclasses.dataclass(frozen=True)
class Operands:
    """What a formula gets.

    Attributes:
        message: the formula's message.
        field: its path in the request.
        prediction: floating-point output of the network, at least float32.
        target: tensor of the batch, or an output; None where the formula has none.
        target_field: the target's place in the request.
        counts: broadcasts over the values, false where the weight is 0; None if all count.
        checks: where conditions on data are left.
    """

    message: Any
    field: str
    prediction: jax.Array
    target: jax.Array | None
    target_field: str
    counts: jax.Array | None
    checks: list[Check]

    def safe(self, array: jax.Array, stand_in: float, *, classes: bool = False) -> jax.Array:
        """`array` with `stand_in` where nothing counts; with `classes`, it has a further axis of classes."""
        if self.counts is None:
            return array
        counts = jnp.broadcast_to(self.counts[..., None] if classes else self.counts, array.shape)
        return jnp.where(counts, array, jnp.asarray(stand_in, array.dtype))

    def like_prediction(self, *, classes: bool = False) -> tuple[jax.Array, jax.Array]:
        """Prediction and target of equal shapes, both floating; with `classes`, values have no last axis."""
        target = self._target()
        form = describe(self.prediction.dtype, self.prediction.shape)
        if target.shape != self.prediction.shape:
            same = math.prod(target.shape) == math.prod(self.prediction.shape)
            raise self.mismatch(form, "A loss never broadcasts: reshape one of them." if same else "")
        if not jnp.issubdtype(target.dtype, jnp.floating):
            raise self.wrong_type(form)
        target = target.astype(self.prediction.dtype)
        return self.safe(self.prediction, 0.5, classes=classes), self.safe(target, 0.5, classes=classes)

    def class_indices(self) -> jax.Array:
        """Integer classes of the prediction's shape without its last axis, checked to be in range when run."""
        target = self._target()
        positions, classes = self.prediction.shape[:-1], self.prediction.shape[-1]
        expected = describe("int32", positions)
        if not jnp.issubdtype(target.dtype, jnp.integer):
            raise self.wrong_type(expected)
        if target.shape != positions:
            hint = ""
            if target.shape == self.prediction.shape:
                hint = "One number for each class is a probability, of floating-point type."
            elif math.prod(target.shape) == math.prod(positions):
                hint = "A loss never broadcasts: reshape the target."
            raise self.mismatch(expected, hint)
        if target.dtype.itemsize < 4:
            # The number of classes may not fit the target's own type.
            target = target.astype(jnp.int32)
        wrong = (target < 0) | (target >= classes)
        if self.counts is not None:
            wrong &= self.counts
        problem = Problem(
            Reason.INDEX_OUT_OF_RANGE,
            "a class is out of range",
            field=self.target_field,
            expected=f"0 to {classes - 1}",
        )
        self.checks.append(Check(jnp.any(wrong), problem))
        return jnp.clip(target, 0, classes - 1).astype(jnp.int32)

    def needs_classes(self) -> None:
        """Refuses a prediction without an axis of classes."""
        if self.prediction.ndim < 1:
            raise Problem(
                Reason.SHAPE_MISMATCH,
                "the prediction needs a last axis of classes",
                field=f"{self.field}.prediction",
                given=describe(self.prediction.dtype, self.prediction.shape),
            )

    def mismatch(self, expected: str, hint: str = "") -> Problem:
        """A target of the wrong shape."""
        target = self._target()
        return Problem(
            Reason.SHAPE_MISMATCH,
            "the target does not fit the prediction",
            field=self.target_field,
            given=describe(target.dtype, target.shape),
            expected=expected,
            hint=hint,
        )

    def wrong_type(self, expected: str) -> Problem:
        """A target of the wrong element type."""
        target = self._target()
        return Problem(
            Reason.DTYPE_MISMATCH,
            "the target has the wrong element type",
            field=self.target_field,
            given=describe(target.dtype, target.shape),
            expected=expected,
        )

    def _target(self) -> jax.Array:
        assert self.target is not None
        return self.target


def softmax_cross_entropy(operands: Operands) -> jax.Array:
    """-sum(p log softmax(z)) over the last axis, p one-hot or given, smoothed towards 1 / classes."""
    operands.needs_classes()
    smoothing = operands.message.label_smoothing
    if not 0 <= smoothing < 1:
        raise Problem(
            Reason.INVALID_VALUE,
            "not a part of the target's mass",
            field=f"{operands.field}.label_smoothing",
            given=str(smoothing),
            expected="at least 0 and less than 1",
        )
    logits = rounded(operands.safe(operands.prediction, 0.0, classes=True))
    target = operands.target
    if target is not None and jnp.issubdtype(target.dtype, jnp.floating):
        if target.shape != logits.shape:
            hint = "Classes are integers." if target.shape == logits.shape[:-1] else ""
            raise operands.mismatch(f"{describe(logits.dtype, logits.shape)}, or integer classes", hint)
        probabilities = operands.safe(target.astype(logits.dtype), 1.0 / logits.shape[-1], classes=True)
        if smoothing:
            probabilities = optax.losses.smooth_labels(probabilities, smoothing)
        return jnp.asarray(optax.losses.safe_softmax_cross_entropy(logits, probabilities))
    indices = operands.class_indices()
    if not smoothing:
        return jnp.asarray(optax.losses.softmax_cross_entropy_with_integer_labels(logits, indices))
    one_hot = jax.nn.one_hot(indices, logits.shape[-1], dtype=logits.dtype)
    return jnp.asarray(optax.losses.softmax_cross_entropy(logits, optax.losses.smooth_labels(one_hot, smoothing)))


def binary_cross_entropy(operands: Operands) -> jax.Array:
    """-(t log p + (1 - t) log(1 - p)); with `from_logits` p = sigmoid(z), in the form that does not overflow."""
    prediction, target = operands.like_prediction()
    if operands.message.from_logits:
        yes = _times_log(target, prediction, jax.nn.log_sigmoid)
        no = _times_log(1 - target, -prediction, jax.nn.log_sigmoid)
    else:
        yes = _times_log(target, prediction, jnp.log)
        no = _times_log(1 - target, -prediction, jnp.log1p)
    return -yes - no


def _times_log(weight: jax.Array, value: jax.Array, log: Callable[[jax.Array], jax.Array]) -> jax.Array:
    """Weight * log(value), where 0 log 0 is 0, in the gradient as well."""
    # 0.5 is in the domain of each logarithm in use; it stands in only where the product is not a number.
    nothing = (weight == 0) & jnp.isneginf(log(value))
    return jnp.where(nothing, 0, weight * log(jnp.where(nothing, 0.5, value)))


def squared_error(operands: Operands) -> jax.Array:
    """(prediction - target) squared."""
    return jnp.asarray(optax.losses.squared_error(*operands.like_prediction()))


def absolute_error(operands: Operands) -> jax.Array:
    """|prediction - target|."""
    prediction, target = operands.like_prediction()
    return jnp.abs(prediction - target)


def negative_log_likelihood(operands: Operands) -> jax.Array:
    """-log of the probability of the target class."""
    operands.needs_classes()
    indices = operands.class_indices()
    likelihood = operands.safe(operands.prediction, 0.5, classes=True)
    chosen = jnp.take_along_axis(likelihood, indices[..., None], axis=-1)[..., 0]
    return -chosen if operands.message.from_log else -jnp.log(chosen)


def output(operands: Operands) -> jax.Array:
    """The prediction itself."""
    return operands.safe(operands.prediction, 0.0)


def huber(operands: Operands) -> jax.Array:
    """e^2 / 2 where |e| <= delta, and delta (|e| - delta / 2) beyond; e = prediction - target.

    Huber, Robust estimation of a location parameter (1964).
    """
    delta = operands.message.delta or 1.0
    if not (math.isfinite(delta) and delta > 0):
        raise Problem(
            Reason.INVALID_VALUE,
            "not a distance",
            field=f"{operands.field}.delta",
            given=str(delta),
            expected="a finite number above 0, or 0 for 1",
        )
    prediction, target = operands.like_prediction()
    return jnp.asarray(optax.losses.huber_loss(prediction, target, delta=jnp.asarray(delta, prediction.dtype)))


def kullback_leibler(operands: Operands) -> jax.Array:
    """sum(t (log t - log p)) over the last axis, where 0 log 0 is 0, in the gradient as well."""
    operands.needs_classes()
    prediction, target = operands.like_prediction(classes=True)
    nothing = target == 0
    # optax's has NaN for a gradient of targets of 0, and where they meet a log-probability of -inf.
    ratio = jnp.log(jnp.where(nothing, 1, target)) - jnp.where(nothing, 0, prediction)
    return jnp.sum(target * ratio, axis=-1)


def next_token(operands: Operands) -> jax.Array:
    """Cross-entropy of the token at each position but the first, by the logits of the position before it."""
    logits, tokens = operands.prediction, operands.target
    if logits.ndim != 3 or logits.shape[1] < 2:
        raise Problem(
            Reason.SHAPE_MISMATCH,
            "tokens are predicted from the ones before them",
            field=f"{operands.field}.prediction",
            given=describe(logits.dtype, logits.shape),
            expected="[batch, length, vocabulary], of a length of at least 2",
        )
    assert tokens is not None
    expected = describe("int32", logits.shape[:2])
    if not jnp.issubdtype(tokens.dtype, jnp.integer):
        raise operands.wrong_type(expected)
    if tokens.shape != logits.shape[:2]:
        raise operands.mismatch(expected)
    shifted = dataclasses.replace(operands, prediction=logits[:, :-1], target=tokens[:, 1:])
    indices = shifted.class_indices()
    return jnp.asarray(
        optax.losses.softmax_cross_entropy_with_integer_labels(
            rounded(shifted.safe(shifted.prediction, 0.0, classes=True)), indices
        )
    )


@dataclasses.dataclass(frozen=True)
class Formula:
    """A row of the table.

    Attributes:
        values: computes the values.
        target: field of its message that names the target; empty where it has none.
        over_classes: whether the values leave the prediction's last axis out.
        of_probabilities: whether the target has that axis all the same.
        skips_first: whether the first position has no value, though example weights may have a place for it.
    """

    values: Callable[[Operands], jax.Array]
    target: str = "target"
    over_classes: bool = False
    of_probabilities: bool = False
    skips_first: bool = False

    def weights(self, fitted: jax.Array) -> jax.Array:
        """Weights [batch, positions or 1, ...] without those of positions that have no value."""
        return fitted[:, 1:] if self.skips_first and fitted.ndim > 1 and fitted.shape[1] > 1 else fitted


FORMULAS: Mapping[str, Formula] = {
    "softmax_cross_entropy": Formula(softmax_cross_entropy, over_classes=True),
    "binary_cross_entropy": Formula(binary_cross_entropy),
    "squared_error": Formula(squared_error),
    "absolute_error": Formula(absolute_error),
    "huber": Formula(huber),
    "negative_log_likelihood": Formula(negative_log_likelihood, over_classes=True),
    "kullback_leibler": Formula(kullback_leibler, over_classes=True, of_probabilities=True),
    "next_token": Formula(next_token, target="tokens", over_classes=True, skips_first=True),
    "output": Formula(output, target=""),
}

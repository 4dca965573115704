"""What losses add to the gradients of predictions and targets; the gradient of the loss itself is 1."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from gradserve_server.common.tracing import Term
from gradserve_server.compute.calculus.terms import Rule

# By formula: the derivative of one value by the prediction, and whether it can be read with numbers.
_Derivative = Callable[["Options"], tuple[str, bool, str]]


class Options(dict[str, float]):
    """Fields of a loss's message that change its derivative; those not set are 0."""

    def __missing__(self, key: str) -> float:
        return 0.0


def _binary_cross_entropy(options: Options) -> tuple[str, bool, str]:
    if options["from_logits"]:
        return "(sigmoid({prediction}) - {target})", True, ""
    return "(-{target} / {prediction} + (1 - {target}) / (1 - {prediction}))", True, ""


def _softmax_cross_entropy(options: Options) -> tuple[str, bool, str]:
    smoothing = options["label_smoothing"]
    where = "with p the probabilities that {target} names"
    if smoothing:
        where += f", {smoothing:g} of them spread evenly over the classes"
    return "(softmax({prediction}) - p)", False, where


def _negative_log_likelihood(options: Options) -> tuple[str, bool, str]:
    one = "-1" if options["from_log"] else "-1 / {prediction}"
    return f"({one} at the class {{target}}, else 0)", False, ""


def _huber(options: Options) -> tuple[str, bool, str]:
    delta = options["delta"] or 1.0
    return f"clip({{prediction}} - {{target}}, -{delta:g}, {delta:g})", True, ""


FORMULAS: Mapping[str, _Derivative] = {
    "softmax_cross_entropy": _softmax_cross_entropy,
    "binary_cross_entropy": _binary_cross_entropy,
    "squared_error": lambda _: ("2 * ({prediction} - {target})", True, ""),
    "absolute_error": lambda _: ("sign({prediction} - {target})", True, ""),
    "huber": _huber,
    "negative_log_likelihood": _negative_log_likelihood,
    "kullback_leibler": lambda _: ("-{target}", False, ""),
    "next_token": lambda _: (
        "(softmax({prediction}) - p)",
        False,
        "with p 1 at the token of {target} that comes next and else 0, and nothing at the last position",
    ),
    "output": lambda _: ("1", True, ""),
}
# Formulas of prediction - target: what flows to the one flows to the other with its sign turned.
_OF_DIFFERENCE = frozenset({"squared_error", "absolute_error", "huber"})


def formula(name: str, options: Mapping[str, float], factor: str) -> Rule:
    """The rule of a loss with the roles "prediction", "target" and "weights".

    Args:
        name: the formula's.
        options: fields of its message.
        factor: by what the reduction multiplies or divides each value's derivative, from `reduction`.
    """
    text, arithmetic, where = FORMULAS[name](Options(options))
    text = f"{text}{factor}"
    # The sum of weights is no place that a number goes to.
    arithmetic = arithmetic and "(the sum" not in factor
    terms = {"prediction": Term(text, arithmetic, where), "target": Term("the derivative of the loss by its target")}
    if name in _OF_DIFFERENCE:
        terms["target"] = Term(f"-{text}", arithmetic, where)
    return terms


def reduction(how: str, *, values: int, examples: int, weighted: bool) -> str:
    """The factor of a mean, sum or sum_then_mean over values, as text that follows a product.

    Args:
        how: which.
        values: their number.
        examples: number of examples.
        weighted: whether there are example weights, of the role "weights".
    """
    if how == "sum":
        return " * {weights}" if weighted else ""
    if weighted:
        return " * {weights} / (the sum of all weights)"
    count = examples if how == "sum_then_mean" else values
    return f" / {count}" if count != 1 else ""

"""Functions of one tensor, element by element or along an axis."""

from __future__ import annotations

from collections.abc import Mapping

from gradserve_server.common.tracing import Term
from gradserve_server.compute.calculus.terms import NOTHING, SAME, Rule, rule

# The derivative of each function at x, where it is y; after GELU's papers, Phi and phi are the distribution and density
# of the standard normal (Hendrycks and Gimpel, "Gaussian error linear units", 2016).
_SIGMOID_FORM = "sigmoid(1.595769 * ({x} + 0.044715 * {x}^3))"
DERIVATIVES: Mapping[str, str] = {
    "relu": "{d} where {x} > 0, else 0",
    "gelu_exact": "{d} * (Phi({x}) + {x} * phi({x}))",
    "gelu_tanh": f"{{d}} * {_SIGMOID_FORM} * (1 + {{x}} * (1 - {_SIGMOID_FORM}) * 1.595769 * (1 + 0.134145 * {{x}}^2))",
    "silu": "{d} * sigmoid({x}) * (1 + {x} * (1 - sigmoid({x})))",
    "sigmoid": "{d} * {y} * (1 - {y})",
    "tanh": "{d} * (1 - {y}^2)",
    "softplus": "{d} * sigmoid({x})",
    "exp": "{d} * {y}",
    "log": "{d} / {x}",
    "sqrt": "{d} / (2 * {y})",
    "square": "{d} * 2 * {x}",
    "abs": "{d} * sign({x})",
    "negate": "-{d}",
    "sin": "{d} * cos({x})",
    "cos": "-{d} * sin({x})",
    "erf": "{d} * 2 / sqrt(pi) * exp(-({x}^2))",
    "log_sigmoid": "{d} * sigmoid(-({x}))",
    "log1p": "{d} / (1 + {x})",
    "expm1": "{d} * (1 + {y})",
    "log_gamma": "{d} * digamma({x})",
    "rsqrt": "-{d} / 2 * {y}^3",
    "softmax": "{y} * ({d} - sum({d} * {y}))",
    "log_softmax": "{d} - exp({y}) * sum({d})",
}
# The result does not change with x, but in steps; or it is told not to pass gradients on.
FLAT = frozenset({"stop_gradient", "sign", "not"})

_WHERE = {
    "relu": "",
    "gelu_exact": "with Phi and phi the distribution and the density of the standard normal",
    "log_gamma": "with digamma the derivative of log_gamma",
}


def elementwise(function: str, *, alpha: float = 0.0, axis: int = -1) -> Rule:
    """The rule of a function of x.

    Args:
        function: its name, as in `DERIVATIVES` or `FLAT`; also leaky_relu and elu.
        alpha: slope or scale, where it has one.
        axis: of softmax and log_softmax.
    """
    if function in FLAT:
        return {"x": NOTHING}
    if function == "leaky_relu":
        return rule(x=f"{{d}} * (1 where {{x}} > 0, else {alpha:g})")
    if function == "elu":
        return rule(x=f"{{d}} * (1 where {{x}} > 0, else {{y}} + {alpha:g})")
    where = f"the sum runs along axis {axis}" if function in {"softmax", "log_softmax"} else _WHERE.get(function, "")
    return rule(where, x=DERIVATIVES[function])


def cast(*, floating: bool) -> Rule:
    """Another element type: gradients pass between floating-point types only."""
    return {"x": SAME if floating else NOTHING}


def dropout(rate: float, *, active: bool) -> Rule:
    """Zeroes some elements at random and scales the others by 1 / (1 - rate)."""
    if not active:
        return {"x": SAME}
    return {"x": Term(f"{{d}} / {1 - rate:g} where it was kept, else 0")}

"""Layers without parameters that are one function: element by element, or a reduction."""

from __future__ import annotations

from collections.abc import Sequence

from gradserve.layers import Layer, layer, whole
from gradserve.v1 import network_pb2

_Elementwise = network_pb2.Elementwise
_Reduce = network_pb2.Reduce


def _elementwise(
    kind: str,
    function: network_pb2.Elementwise.Function,
    name: str | None,
    *,
    alpha: float | None = None,
    axis: int | None = None,
) -> Layer:
    return layer(kind, name, elementwise=_Elementwise(function=function, alpha=alpha, axis=axis))


def relu(name: str | None = None) -> Layer:
    """max(x, 0)."""
    return _elementwise("relu", _Elementwise.FUNCTION_RELU, name)


def leaky_relu(alpha: float = 0.01, name: str | None = None) -> Layer:
    """The identity above 0, alpha x below."""
    return _elementwise("leaky_relu", _Elementwise.FUNCTION_LEAKY_RELU, name, alpha=alpha)


def elu(alpha: float = 1.0, name: str | None = None) -> Layer:
    """The identity above 0, alpha (exp(x) - 1) below.

    Source: Clevert et al., "Exponential linear units", 2015.
    """
    return _elementwise("elu", _Elementwise.FUNCTION_ELU, name, alpha=alpha)


def gelu(exact: bool = False, name: str | None = None) -> Layer:
    """The normal distribution's cumulative function at x, times x.

    Source: Hendrycks and Gimpel, "Gaussian error linear units", 2016.

    Args:
        exact: with the error function (the default of PyTorch and ONNX) rather than their
            approximation by tanh (the default of JAX).
        name: name of the node; ``gelu_1``, ... if None.
    """
    function = _Elementwise.FUNCTION_GELU_EXACT if exact else _Elementwise.FUNCTION_GELU_TANH
    return _elementwise("gelu", function, name)


def silu(name: str | None = None) -> Layer:
    """Sigmoid of x, times x."""
    return _elementwise("silu", _Elementwise.FUNCTION_SILU, name)


def sigmoid(name: str | None = None) -> Layer:
    """1 / (1 + exp(-x))."""
    return _elementwise("sigmoid", _Elementwise.FUNCTION_SIGMOID, name)


def log_sigmoid(name: str | None = None) -> Layer:
    """log(sigmoid(x)), without overflow."""
    return _elementwise("log_sigmoid", _Elementwise.FUNCTION_LOG_SIGMOID, name)


def tanh(name: str | None = None) -> Layer:
    """Hyperbolic tangent."""
    return _elementwise("tanh", _Elementwise.FUNCTION_TANH, name)


def softplus(name: str | None = None) -> Layer:
    """log(1 + exp(x))."""
    return _elementwise("softplus", _Elementwise.FUNCTION_SOFTPLUS, name)


def softmax(axis: int | None = None, name: str | None = None) -> Layer:
    """exp(x) / sum(exp(x)) along one axis; the last if None."""
    return _elementwise("softmax", _Elementwise.FUNCTION_SOFTMAX, name, axis=axis)


def log_softmax(axis: int | None = None, name: str | None = None) -> Layer:
    """log(softmax(x)) along one axis; the last if None."""
    return _elementwise("log_softmax", _Elementwise.FUNCTION_LOG_SOFTMAX, name, axis=axis)


def exp(name: str | None = None) -> Layer:
    """Exponential."""
    return _elementwise("exp", _Elementwise.FUNCTION_EXP, name)


def expm1(name: str | None = None) -> Layer:
    """exp(x) - 1, exact near 0."""
    return _elementwise("expm1", _Elementwise.FUNCTION_EXPM1, name)


def log(name: str | None = None) -> Layer:
    """Natural logarithm."""
    return _elementwise("log", _Elementwise.FUNCTION_LOG, name)


def log1p(name: str | None = None) -> Layer:
    """log(1 + x), exact near 0."""
    return _elementwise("log1p", _Elementwise.FUNCTION_LOG1P, name)


def log_gamma(name: str | None = None) -> Layer:
    """Logarithm of the absolute value of the gamma function."""
    return _elementwise("log_gamma", _Elementwise.FUNCTION_LOG_GAMMA, name)


def sqrt(name: str | None = None) -> Layer:
    """Square root."""
    return _elementwise("sqrt", _Elementwise.FUNCTION_SQRT, name)


def rsqrt(name: str | None = None) -> Layer:
    """1 / sqrt(x)."""
    return _elementwise("rsqrt", _Elementwise.FUNCTION_RSQRT, name)


def square(name: str | None = None) -> Layer:
    """The square of x."""
    return _elementwise("square", _Elementwise.FUNCTION_SQUARE, name)


def absolute(name: str | None = None) -> Layer:
    """Absolute value."""
    return _elementwise("absolute", _Elementwise.FUNCTION_ABS, name)


def negate(name: str | None = None) -> Layer:
    """-x."""
    return _elementwise("negate", _Elementwise.FUNCTION_NEGATE, name)


def sign(name: str | None = None) -> Layer:
    """-1, 0 or 1, with no gradient."""
    return _elementwise("sign", _Elementwise.FUNCTION_SIGN, name)


def sin(name: str | None = None) -> Layer:
    """Sine."""
    return _elementwise("sin", _Elementwise.FUNCTION_SIN, name)


def cos(name: str | None = None) -> Layer:
    """Cosine."""
    return _elementwise("cos", _Elementwise.FUNCTION_COS, name)


def erf(name: str | None = None) -> Layer:
    """Error function."""
    return _elementwise("erf", _Elementwise.FUNCTION_ERF, name)


def stop_gradient(name: str | None = None) -> Layer:
    """The identity, with no gradient."""
    return _elementwise("stop_gradient", _Elementwise.FUNCTION_STOP_GRADIENT, name)


def logical_not(name: str | None = None) -> Layer:
    """Boolean negation."""
    return _elementwise("logical_not", _Elementwise.FUNCTION_NOT, name)


def _reduce(
    kind: str,
    function: network_pb2.Reduce.Function,
    axes: int | Sequence[int],
    keep_axes: bool,
    name: str | None,
) -> Layer:
    chosen = axes if isinstance(axes, Sequence) else [axes]
    least = -(2**63)
    return layer(
        kind,
        name,
        reduce=_Reduce(
            function=function,
            axes=[whole(axis, f"{kind}.axes", least) for axis in chosen],
            keep_axes=keep_axes,
        ),
    )


def reduce_sum(axes: int | Sequence[int] = (), keep_axes: bool = False, name: str | None = None) -> Layer:
    """Sum over axes.

    Args:
        axes: which, negative ones from the end; all if empty, the batch's among them.
        keep_axes: keeps them with size 1.
        name: name of the node; ``reduce_sum_1``, ... if None.
    """
    return _reduce("reduce_sum", _Reduce.FUNCTION_SUM, axes, keep_axes, name)


def reduce_mean(axes: int | Sequence[int] = (), keep_axes: bool = False, name: str | None = None) -> Layer:
    """Mean over axes; arguments as for `reduce_sum`."""
    return _reduce("reduce_mean", _Reduce.FUNCTION_MEAN, axes, keep_axes, name)


def reduce_max(axes: int | Sequence[int] = (), keep_axes: bool = False, name: str | None = None) -> Layer:
    """The largest along axes; arguments as for `reduce_sum`."""
    return _reduce("reduce_max", _Reduce.FUNCTION_MAX, axes, keep_axes, name)


def reduce_min(axes: int | Sequence[int] = (), keep_axes: bool = False, name: str | None = None) -> Layer:
    """The smallest along axes; arguments as for `reduce_sum`."""
    return _reduce("reduce_min", _Reduce.FUNCTION_MIN, axes, keep_axes, name)


def reduce_log_sum_exp(axes: int | Sequence[int] = (), keep_axes: bool = False, name: str | None = None) -> Layer:
    """log(sum(exp(x))) over axes, without overflow; arguments as for `reduce_sum`."""
    return _reduce("reduce_log_sum_exp", _Reduce.FUNCTION_LOG_SUM_EXP, axes, keep_axes, name)

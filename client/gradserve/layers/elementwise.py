"""Functions of one tensor, element by element or along one axis."""

from __future__ import annotations

from gradserve.layers.base import Layer, layer
from gradserve.v1 import network_pb2

_Elementwise = network_pb2.Elementwise


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

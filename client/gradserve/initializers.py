"""How parameters start. The server draws them, from a seed and the parameter's name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, final

from gradserve.errors import InvalidRequest
from gradserve.tensors import message_bytes
from gradserve.v1 import network_pb2

Fan = Literal["fan_in", "fan_out", "fan_average"]

_FANS = {
    "fan_in": network_pb2.VarianceScaling.MODE_FAN_IN,
    "fan_out": network_pb2.VarianceScaling.MODE_FAN_OUT,
    "fan_average": network_pb2.VarianceScaling.MODE_FAN_AVERAGE,
}


@final
@dataclass(frozen=True, slots=True)
class Initializer:
    """A distribution that a parameter starts from. Made by the functions of this file."""

    content: bytes

    @property
    def message(self) -> network_pb2.Initializer:
        """The contract's message, a copy."""
        return network_pb2.Initializer.FromString(self.content)

    def __repr__(self) -> str:
        return f"Initializer({str(self.message).strip()!r})"


def _initializer(message: network_pb2.Initializer) -> Initializer:
    return Initializer(message_bytes(message))


def constant_initializer(value: float) -> Initializer:
    """The same number everywhere."""
    return _initializer(network_pb2.Initializer(constant=value))


def normal(standard_deviation: float) -> Initializer:
    """Normal with mean 0 and this standard deviation."""
    return _initializer(network_pb2.Initializer(normal=standard_deviation))


def uniform(bound: float) -> Initializer:
    """Uniform on plus and minus this bound."""
    return _initializer(network_pb2.Initializer(uniform=bound))


def variance_scaling(
    scale: float = 1.0,
    mode: Fan = "fan_in",
    distribution: Literal["truncated_normal", "uniform"] = "truncated_normal",
) -> Initializer:
    """Mean 0 and variance ``scale / fan``.

    Args:
        scale: variance times fan.
        mode: the fan: inputs of one unit, outputs of one unit, or the mean of both.
        distribution: normal cut off at two standard deviations (and widened to have the variance),
            or uniform.

    Raises:
        InvalidRequest: mode or distribution are not among these.
    """
    if mode not in _FANS:
        raise InvalidRequest.because(
            "no such fan", field="mode", given=repr(mode), expected=f"one of {', '.join(_FANS)}"
        )
    if distribution not in ("truncated_normal", "uniform"):
        raise InvalidRequest.because(
            "no such distribution",
            field="distribution",
            given=repr(distribution),
            expected="truncated_normal or uniform",
        )
    return _initializer(
        network_pb2.Initializer(
            variance_scaling=network_pb2.VarianceScaling(
                scale=scale, mode=_FANS[mode], uniform=distribution == "uniform"
            )
        )
    )


def glorot_normal() -> Initializer:
    """Variance 2 / (fan-in + fan-out), normal.

    Source: Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural
    networks", 2010.
    """
    return variance_scaling(1.0, "fan_average")


def glorot_uniform() -> Initializer:
    """Variance 2 / (fan-in + fan-out), uniform; source as for `glorot_normal`."""
    return variance_scaling(1.0, "fan_average", "uniform")


def he_normal() -> Initializer:
    """Variance 2 / fan-in, normal: for layers before a ReLU.

    Source: He et al., "Delving deep into rectifiers", 2015.
    """
    return variance_scaling(2.0, "fan_in")


def he_uniform() -> Initializer:
    """Variance 2 / fan-in, uniform; source as for `he_normal`."""
    return variance_scaling(2.0, "fan_in", "uniform")


def lecun_normal() -> Initializer:
    """Variance 1 / fan-in, normal.

    Source: LeCun et al., "Efficient backprop", 1998.
    """
    return variance_scaling(1.0, "fan_in")


def lecun_uniform() -> Initializer:
    """Variance 1 / fan-in, uniform; source as for `lecun_normal`."""
    return variance_scaling(1.0, "fan_in", "uniform")

"""What is random."""

from __future__ import annotations

from gradserve.errors import InvalidRequest
from gradserve.layers.base import Layer, layer, whole
from gradserve.v1 import network_pb2

_Random = network_pb2.Random


def dropout(rate: float, name: str | None = None) -> Layer:
    """Zeroes a part in training and scales the rest by 1 / (1 - rate); otherwise the identity.

    Calls with a network that holds this layer need ``mode``; ``seed`` decides what is zeroed.
    Source: Srivastava et al., "Dropout", 2014.

    Args:
        rate: the part, in [0, 1).
        name: name of the node; ``dropout_1``, ... if None.

    Raises:
        InvalidRequest: the rate is outside [0, 1).
    """
    if not 0 <= rate < 1:
        raise InvalidRequest.because(
            "no rate of dropout", field="dropout.rate", given=rate, expected="a number in [0, 1)"
        )
    return layer("dropout", name, dropout=network_pb2.Dropout(rate=rate))


def random_normal(*shape: int, name: str | None = None) -> Layer:
    """Fresh random numbers of mean 0 and variance 1, in every mode and without gradient.

    They follow from the seed of the call, the node's path and, in a repeated block, the turn.

    Args:
        shape: sizes of the axes; the layer takes no input then. Of the shape of its one input if there
            are none.
        name: name of the node; ``random_normal_1``, ... if None.
    """
    return _random("random_normal", _Random.DISTRIBUTION_NORMAL, shape, name)


def random_uniform(*shape: int, name: str | None = None) -> Layer:
    """Fresh random numbers from [0, 1); otherwise as `random_normal`."""
    return _random("random_uniform", _Random.DISTRIBUTION_UNIFORM, shape, name)


def random_gumbel(*shape: int, name: str | None = None) -> Layer:
    """Fresh random numbers -log(-log(uniform)); otherwise as `random_normal`."""
    return _random("random_gumbel", _Random.DISTRIBUTION_GUMBEL, shape, name)


def _random(
    kind: str, distribution: network_pb2.Random.Distribution, shape: tuple[int, ...], name: str | None
) -> Layer:
    sizes = [whole(size, f"{kind}.shape") for size in shape]
    return layer(kind, name, random=_Random(distribution=distribution, shape=sizes))

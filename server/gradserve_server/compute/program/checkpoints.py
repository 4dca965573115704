"""Which choices of checkpointing a program has."""

from __future__ import annotations

from collections.abc import Mapping

from gradserve_server.common.specs import Checkpointing
from gradserve_server.compute.network import Capability, Network

_ALL = (Checkpointing.OFF, Checkpointing.PRODUCTS, Checkpointing.BLOCKS, Checkpointing.SQRT)
# Kinds of programs that keep something for a backward pass; the others have nothing to choose.
_OF_KIND: Mapping[str, tuple[Checkpointing, ...]] = {"gradients": _ALL, "hessian_product": _ALL}


def checkpointing_choices(kind: str, network: Network) -> tuple[Checkpointing, ...]:
    """Choices of a kind of program, from the fastest to that with the least memory; none if it keeps nothing."""
    choices = _OF_KIND.get(kind, ())
    return choices[:1] if Capability.CHECKPOINTING in network.limitations else choices

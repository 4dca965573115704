"""What a network lacks is refused by whoever asks for it, with the network's own reason."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args, get_type_hints

import jax
import pytest

from gradserve_server.common.errors import Problem, Reason
from gradserve_server.common.specs import NetworkSource, Options, Precision, ProgramSpec
from gradserve_server.compute.network import Arrays, Capability, Context, Network, Signature
from gradserve_server.compute.program import KINDS
from gradserve_server.compute.program.capabilities import OF_KIND, check_capabilities


class Limited(Network):
    """A network that lacks everything that one can lack."""

    inputs = ()
    outputs = ()
    limitations: Mapping[Capability, str] = {one: f"It has no {one.name}." for one in Capability}

    def signature(self, inputs: Mapping[str, jax.ShapeDtypeStruct], dtype: Any) -> Signature:
        return Signature({}, {}, {}, "")

    def apply(self, parameters: Arrays, statistics: Arrays, inputs: Arrays, context: Context) -> dict[str, jax.Array]:
        return {}


class NoLimits(Limited):
    """A network that lacks nothing."""

    limitations: Mapping[Capability, str] = {}


def spec(kind: Any, **changes: Any) -> ProgramSpec:
    return ProgramSpec(kind=kind, network=NetworkSource("graph", b""), loss=b"", batch=(), weights=(), **changes)


def refused(asked: ProgramSpec) -> Problem:
    with pytest.raises(Problem) as caught:
        check_capabilities(asked, Limited())
    assert caught.value.reason is Reason.UNSUPPORTED_BY_NETWORK
    return caught.value


def test_every_kind_of_program_says_what_it_needs() -> None:
    assert set(OF_KIND) == set(KINDS) == set(get_args(get_type_hints(ProgramSpec)["kind"]))


@pytest.mark.parametrize("kind", sorted(OF_KIND))
def test_a_kind_is_refused_where_the_network_lacks_what_it_needs(kind: str) -> None:
    if OF_KIND[kind]:
        problem = refused(spec(kind))
        assert problem.metadata["capability"] == OF_KIND[kind][0].name
        assert problem.metadata["hint"] == f"It has no {OF_KIND[kind][0].name}."
    else:
        check_capabilities(spec(kind), Limited())


def test_drawn_weights_are_refused_where_the_definition_does_not_say_how_they_start() -> None:
    asked = ProgramSpec(kind="gradients", network=NetworkSource("graph", b""), loss=b"", batch=(), weights=None)
    assert refused(asked).metadata["field"] == "weights.seed"


def test_16_bits_are_refused_where_the_types_are_fixed() -> None:
    problem = refused(spec("gradients", options=Options(precision=Precision.BFLOAT16)))
    assert problem.metadata["field"] == "options.precision"


def test_a_trace_has_no_parts() -> None:
    with pytest.raises(Problem) as caught:
        check_capabilities(spec("trace", options=Options(micro_batches=2)), NoLimits())
    assert caught.value.reason is Reason.UNSUPPORTED_OPTION
    assert caught.value.metadata["field"] == "options.micro_batches"

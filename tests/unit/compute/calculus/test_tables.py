"""Whether the tables of chain rules know all that is served."""

from __future__ import annotations

from gradserve.v1 import network_pb2
from gradserve_server.compute.calculus.elementwise import DERIVATIVES, FLAT
from gradserve_server.compute.calculus.losses import FORMULAS as RULES_OF_LOSSES
from gradserve_server.compute.frontends.graph.chain_rules import RULES
from gradserve_server.compute.frontends.graph.operations import NAMES
from gradserve_server.compute.losses.formulas import FORMULAS


def test_every_operation_has_a_chain_rule() -> None:
    assert set(RULES) == set(NAMES)


def test_every_function_of_one_tensor_has_one() -> None:
    served = {
        name.removeprefix("FUNCTION_").lower() for name in network_pb2.Elementwise.Function.DESCRIPTOR.values_by_name
    }
    assert set(DERIVATIVES) | FLAT | {"leaky_relu", "elu"} == served - {"unspecified"}


def test_every_formula_of_a_loss_has_one() -> None:
    assert set(RULES_OF_LOSSES) == set(FORMULAS)

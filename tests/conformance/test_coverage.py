"""Nothing of the contract's operations and losses is without a row that uses it."""

from __future__ import annotations

from gradserve.v1 import loss_pb2, network_pb2
from tests.conformance import contract
from tests.conformance.losses import test_cotangents as cotangents
from tests.conformance.losses.oracles import ROWS as LOSSES
from tests.conformance.losses.test_losses import REDUCTIONS
from tests.conformance.operations.rows import ROWS as OPERATIONS
from tests.conformance.operations.test_randomness import CASES as RANDOM

# How parameters start is no part of what operations compute: tests/unit/compute/test_initializers.py. Any tensor may be
# a constant and any type be cast to: tests/unit/front/test_tensors.py. A graph's own name is for people.
OF_OTHER_TESTS = {"Initializer", "Tensor", "DataType", "TensorSpec", "Graph.name"}


def test_every_operation_is_used_with_every_field_and_choice() -> None:
    """Random numbers are held against their distributions, all others against NumPy and differences."""
    nodes = [node for row in OPERATIONS.values() for node in (*row.before, row.node())]
    nodes += [network_pb2.Node(name="node", random=message) for message in RANDOM]
    found = {one for node in nodes for one in contract.used(node)}
    assert set(contract.declared(network_pb2.Node.DESCRIPTOR, OF_OTHER_TESTS)) - found == set()


def test_every_loss_is_used_with_every_field_and_choice() -> None:
    """A row of the table of losses, or a product with cotangents, stacked or as a term of a sum."""
    messages = [row.message(reduction, "weights") for row in LOSSES.values() for reduction in REDUCTIONS]
    messages += [cotangents.message(cotangents.COTANGENTS, stacked=stacked) for stacked in (False, True)]
    messages.append(cotangents.total(0.5))
    found = {one for message in messages for one in contract.used(message)}
    assert set(contract.declared(loss_pb2.Loss.DESCRIPTOR, {"Graph", "Tensor"})) - found == set()


def test_a_field_that_no_row_sets_is_found() -> None:
    """The walk sees what is missing: fields, choices, and those of messages inside."""
    message = network_pb2.Pooling(function=network_pb2.Pooling.FUNCTION_MAX, window=network_pb2.Window(size=[2]))
    missing = set(contract.declared(message.DESCRIPTOR)) - set(contract.used(message))
    assert missing == {
        "Pooling.FUNCTION_MEAN",
        "Window.stride",
        "Window.dilation",
        "Window.padding",
        "Window.PADDING_VALID",
        "Window.PADDING_SAME",
    }

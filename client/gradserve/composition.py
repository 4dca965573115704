"""Networks that are one layer after the other, and layers that are networks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from gradserve.builder import GraphBuilder, block_node, inferred
from gradserve.errors import InvalidRequest
from gradserve.layers import Layer
from gradserve.network import Network, Spec, form_of
from gradserve.tensors import message_bytes

Step: TypeAlias = Layer | Network
"""What stands in a row: a layer, or a network with one input, which becomes a block."""


def sequential(*layers: Step, name: str = "", **inputs: Sequence[int | str] | Spec) -> Network:
    """One layer after the other.

    Nodes are named by their kind and counted: ``dense_1``, ``relu_1``, ``dense_2``; their
    parameters ``dense_1/kernel`` and so on.

    Example:
        >>> gs.sequential(gs.dense(128), gs.relu(), gs.dense(10), x=("batch", 64))

    Args:
        layers: layers, or networks with one input, in order.
        name: what logs and traces call the network.
        inputs: one keyword: the name of the input and its shape as a tuple of sizes and names
            (float32), or `spec` for other element types. Without one, the input is ``x`` and its
            shape is inferred, which is right for bodies of blocks and nothing else.

    Raises:
        InvalidRequest: no layers, more than one input, or no shape.
    """
    if len(inputs) > 1:
        raise InvalidRequest.because(
            "a sequential network has one input",
            field="inputs",
            given=", ".join(inputs),
            hint="gs.GraphBuilder takes more.",
        )
    if not layers:
        raise InvalidRequest.because("the network has no layers", field="layers")
    if not inputs:
        return _undeclared(layers, name)
    ((input_name, shape),) = inputs.items()
    form = form_of(shape, input_name)
    graph = GraphBuilder(name)
    value = graph.input(input_name, *form.shape, dtype=form.dtype)
    for layer in layers:
        value = graph.add(layer, value)
    return graph.build()


def repeat(
    layer: Step | Sequence[Step],
    times: int,
    share_parameters: bool = False,
    name: str | None = None,
) -> Layer:
    """A layer, network or list of layers, many times in a row.

    Parameters get a first axis of `times` (one slice for each turn) and are named
    ``<name>/<node>/<parameter>``. Compile time does not grow with `times`. What is repeated must
    give what it takes: the same shape and type.

    Example:
        >>> gs.sequential(gs.repeat(gs.residual(gs.dense(64), gs.relu()), 12), x=("batch", 64))

    Args:
        layer: what is repeated.
        times: how often, at least 1.
        share_parameters: use the same parameters each time, without the extra axis.
        name: name of the node; ``block_1``, ... if None.
    """
    body = layer if isinstance(layer, Network) else _undeclared(_list(layer), "")
    return Layer("block", message_bytes(block_node(body, times, share_parameters)), name)


def residual(*layers: Step, name: str | None = None) -> Layer:
    """Layers in a row whose input is added to their result: ``x + f(x)``.

    Source: He et al., "Deep residual learning for image recognition", 2015. Parameters are named
    ``<name>/<node>/<parameter>``.

    Args:
        layers: ``f``; must give the shape that it takes.
        name: name of the node; ``residual_1``, ... if None.
    """
    if not layers:
        raise InvalidRequest.because("the residual has no layers", field="layers")
    graph = GraphBuilder()
    start = graph.input("x")
    value = start
    for layer in layers:
        value = graph.add(layer, value)
    body = graph.build(outputs=[start + value])
    return Layer("residual", message_bytes(block_node(body, None, False)), name)


def _undeclared(layers: Sequence[Step], name: str) -> Network:
    """Layers in a row, of an input whose type and shape are inferred."""
    return Network(inferred(sequential(*layers, name=name, x=())))


def _list(layer: Step | Sequence[Step]) -> Sequence[Step]:
    return layer if isinstance(layer, Sequence) else [layer]

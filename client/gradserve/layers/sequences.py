"""Layers over a sequence: attention and recurrence."""

from __future__ import annotations

from gradserve.layers.base import Layer, layer, whole
from gradserve.v1 import network_pb2

_Recurrent = network_pb2.Recurrent


def attention(
    heads: int,
    key_value_heads: int | None = None,
    head_size: int | None = None,
    causal: bool = False,
    rotary_base: float | None = None,
    bias: bool = True,
    masked: bool = False,
    name: str | None = None,
) -> Layer:
    """Multi-head attention of x [batch, length, features] to itself, or to a second input.

    Scores are divided by sqrt(head_size). A query that sees no key gives 0. Source: Vaswani et al.,
    "Attention is all you need", 2017. Parameters of the network: ``<name>/query/kernel`` [features,
    heads, head_size] and ``<name>/query/bias`` [heads, head_size]; ``key`` and ``value`` likewise, with
    key_value_heads; ``<name>/output/kernel`` [heads, head_size, features] and ``<name>/output/bias``
    [features].

    Example:
        >>> block = gs.residual(gs.layer_normalization(), gs.attention(4, causal=True))
        >>> graph.add(gs.attention(8, masked=True), x, memory, mask)

    Args:
        heads: heads of the queries.
        key_value_heads: heads of keys and values, a divisor of `heads` (grouped-query attention, Ainslie
            et al., 2023); as many if None.
        head_size: features of one head; features / heads if None.
        causal: each position sees itself and the ones before it.
        rotary_base: base of rotary position embeddings (Su et al., 2021), usually 10000; none if None.
            Feature i turns with feature i + head_size / 2.
        bias: whether to add biases.
        masked: whether the last input is a mask, [batch, keys], [batch, queries, keys] or [batch, heads,
            queries, keys] with any axis 1 where it is the same for all; a key is seen where it is not 0.
        name: name of the node; ``attention_1``, ... if None.
    """
    return layer(
        "attention",
        name,
        masked=masked,
        attention=network_pb2.Attention(
            heads=whole(heads, "attention.heads"),
            key_value_heads=0 if key_value_heads is None else whole(key_value_heads, "attention.key_value_heads"),
            head_size=0 if head_size is None else whole(head_size, "attention.head_size"),
            causal=causal,
            rotary_base=rotary_base or 0.0,
            without_bias=not bias,
        ),
    )


def simple_recurrent(
    units: int,
    last_only: bool = False,
    bidirectional: bool = False,
    masked: bool = False,
    name: str | None = None,
) -> Layer:
    """A recurrent layer: ``h = tanh(x W + h U + b)`` along x [batch, length, features].

    Gives all states [batch, length, units]. Source: Elman, "Finding structure in time", 1990.
    Parameters of the network: ``<name>/kernel`` [features, units], ``<name>/recurrent_kernel`` [units,
    units] and ``<name>/bias`` [units]; under ``<name>/forward/`` and ``<name>/backward/`` where it reads
    both ways.

    Args:
        units: size of the state.
        last_only: gives the last state alone, [batch, units].
        bidirectional: reads from the end as well, and joins the features of both.
        masked: whether the second input is a mask [batch, length]; where it is 0, the state stays as it
            was, and the last state is the one after the last 1.
        name: name of the node; ``simple_recurrent_1``, ... if None.
    """
    return _recurrent("simple_recurrent", _Recurrent.CELL_SIMPLE, units, last_only, bidirectional, masked, name)


def lstm(
    units: int,
    last_only: bool = False,
    bidirectional: bool = False,
    masked: bool = False,
    name: str | None = None,
) -> Layer:
    """Long short-term memory; arguments as for `simple_recurrent`.

    Source: Hochreiter and Schmidhuber, "Long short-term memory", 1997, with the forget gate of Gers et
    al., 2000. Parameters of the network as for `simple_recurrent`, of 4 * units columns: input, forget,
    cell and output gate side by side.
    """
    return _recurrent("lstm", _Recurrent.CELL_LSTM, units, last_only, bidirectional, masked, name)


def gru(
    units: int,
    last_only: bool = False,
    bidirectional: bool = False,
    masked: bool = False,
    name: str | None = None,
) -> Layer:
    """Gated recurrent unit, which resets after the product, as in PyTorch; arguments as for `simple_recurrent`.

    Source: Cho et al., "Learning phrase representations using RNN encoder-decoder", 2014. Parameters of
    the network as for `simple_recurrent`, of 3 * units columns (reset, update and new gate side by side),
    and ``<name>/recurrent_bias`` [3 * units].
    """
    return _recurrent("gru", _Recurrent.CELL_GRU, units, last_only, bidirectional, masked, name)


def _recurrent(
    kind: str,
    cell: network_pb2.Recurrent.Cell,
    units: int,
    last_only: bool,
    bidirectional: bool,
    masked: bool,
    name: str | None,
) -> Layer:
    return layer(
        kind,
        name,
        masked=masked,
        recurrent=_Recurrent(
            cell=cell, units=whole(units, f"{kind}.units"), last_only=last_only, bidirectional=bidirectional
        ),
    )

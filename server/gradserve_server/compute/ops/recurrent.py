"""Recurrent cells, and the loop over time."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp

State = tuple[jax.Array, ...]


@dataclasses.dataclass(frozen=True)
class Kernels:
    """What a cell multiplies its state by, the gates side by side.

    Attributes:
        recurrent: [units, gates * units].
        recurrent_bias: [gates * units]; None where the cell has none.
    """

    recurrent: jax.Array
    recurrent_bias: jax.Array | None

    def apply(self, hidden: jax.Array) -> jax.Array:
        """Products of the state [batch, units] for all gates, [batch, gates * units]."""
        product = hidden @ self.recurrent
        return product if self.recurrent_bias is None else product + self.recurrent_bias[None]


@dataclasses.dataclass(frozen=True)
class Cell:
    """One kind of cell.

    Attributes:
        gates: products side by side in a kernel.
        states: arrays [batch, units] that it keeps; the first is its result.
        recurrent_bias: whether it adds a bias to the products of the state.
        step: the next state from what the gates get of the input [batch, gates * units], and the state.
    """

    gates: int
    states: int
    recurrent_bias: bool
    step: Callable[[jax.Array, State, Kernels], State]


def _simple(gates: jax.Array, state: State, kernels: Kernels) -> State:
    """Elman, "Finding structure in time", 1990: tanh(x W + h U + b)."""
    return (jnp.tanh(gates + kernels.apply(state[0])),)


def _lstm(gates: jax.Array, state: State, kernels: Kernels) -> State:
    """Hochreiter and Schmidhuber, "Long short-term memory", 1997, with the forget gate of Gers et al., 2000.

    i, f, o = sigmoid, g = tanh, each of its part of x W + h U + b; c' = f c + i g; h' = o tanh(c').
    """
    hidden, memory = state
    i, f, g, o = jnp.split(gates + kernels.apply(hidden), 4, -1)
    memory = jax.nn.sigmoid(f) * memory + jax.nn.sigmoid(i) * jnp.tanh(g)
    return jax.nn.sigmoid(o) * jnp.tanh(memory), memory


def _gru(gates: jax.Array, state: State, kernels: Kernels) -> State:
    """Cho et al., "Learning phrase representations", 2014, resetting after the product.

    r, z = sigmoid of their parts of x W + b + h U + c; n = tanh(x W + b + r (h U + c)); h' = (1 - z) n + z h.
    """
    (hidden,) = state
    reset, update, new = jnp.split(gates, 3, -1)
    hidden_reset, hidden_update, hidden_new = jnp.split(kernels.apply(hidden), 3, -1)
    z = jax.nn.sigmoid(update + hidden_update)
    n = jnp.tanh(new + jax.nn.sigmoid(reset + hidden_reset) * hidden_new)
    return ((1 - z) * n + z * hidden,)


SIMPLE = Cell(1, 1, False, _simple)
LSTM = Cell(4, 2, False, _lstm)
GRU = Cell(3, 1, True, _gru)


def recur(
    cell: Cell, gates: jax.Array, kernels: Kernels, seen: jax.Array | None, *, reverse: bool
) -> tuple[jax.Array, jax.Array]:
    """All states [batch, length, units] and the last one [batch, units], from a state of zeros.

    Args:
        cell: the cell.
        gates: what the gates get of the input, [batch, length, gates * units].
        kernels: what they get of the state is multiplied by.
        seen: booleans [batch, length]; where False, the state stays as it was. None where all is seen.
        reverse: reads from the end; the states keep the places of what they read last.
    """
    zeros = jnp.zeros((gates.shape[0], kernels.recurrent.shape[0]), gates.dtype)

    def step(state: State, now: tuple[jax.Array, jax.Array | None]) -> tuple[State, jax.Array]:
        gates, seen = now
        after = cell.step(gates, state, kernels)
        if seen is not None:
            after = tuple(jnp.where(seen[:, None], new, old) for new, old in zip(after, state, strict=True))
        return after, after[0]

    by_time = jnp.swapaxes(gates, 0, 1), None if seen is None else jnp.swapaxes(seen, 0, 1)
    last, states = jax.lax.scan(step, (zeros,) * cell.states, by_time, reverse=reverse)
    return jnp.swapaxes(states, 0, 1), last[0]

"""Recurrent layers: one scan over time for each direction."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp

from gradserve_server.compute.frontends.onnx.call import Call
from gradserve_server.compute.frontends.onnx.table import Value, operator

Activation = Callable[[jax.Array], jax.Array]
State = tuple[jax.Array, ...]

# By name: the function of x, of x and alpha, or of x, alpha and beta.
_PLAIN: dict[str, Activation] = {
    "relu": jax.nn.relu,
    "tanh": jnp.tanh,
    "sigmoid": jax.nn.sigmoid,
    "softsign": jax.nn.soft_sign,
    "softplus": jax.nn.softplus,
}
_OF_ALPHA: dict[str, tuple[Callable[[jax.Array, float], jax.Array], float]] = {
    "leakyrelu": (lambda x, alpha: jnp.where(x >= 0, x, alpha * x), 0.01),
    "thresholdedrelu": (lambda x, alpha: jnp.where(x >= alpha, x, jnp.zeros_like(x)), 1.0),
    "elu": (jax.nn.elu, 1.0),
}
_OF_BOTH: dict[str, tuple[Callable[[jax.Array, float, float], jax.Array], float, float]] = {
    "affine": (lambda x, alpha, beta: alpha * x + beta, 1.0, 0.0),
    "scaledtanh": (lambda x, alpha, beta: alpha * jnp.tanh(beta * x), 1.0, 1.0),
    "hardsigmoid": (lambda x, alpha, beta: jnp.clip(alpha * x + beta, 0, 1), 0.2, 0.5),
}


@dataclasses.dataclass(frozen=True)
class _Direction:
    """One direction of a layer.

    Attributes:
        kernel: [gates * hidden, inputs].
        recurrent: [gates * hidden, hidden].
        bias: of the inputs [gates * hidden].
        recurrent_bias: of the hidden state [gates * hidden].
        activations: in the order of the standard.
        peepholes: [3 * hidden]; zeros where there are none.
    """

    kernel: jax.Array
    recurrent: jax.Array
    bias: jax.Array
    recurrent_bias: jax.Array
    activations: Sequence[Activation]
    peepholes: jax.Array


Step = Callable[[_Direction, State, jax.Array], State]


def _activations(call: Call, defaults: Sequence[str], directions: int) -> list[Activation]:
    names = [name.lower() for name in call.attribute("activations", tuple(defaults) * directions)]
    alphas, betas = list(call.attribute("activation_alpha", ())), list(call.attribute("activation_beta", ()))
    found: list[Activation] = []
    for name in names:
        if name in _PLAIN:
            found.append(_PLAIN[name])
        elif name in _OF_ALPHA:
            found.append(_with_alpha(name, alphas))
        elif name in _OF_BOTH:
            found.append(_with_both(name, alphas, betas))
        else:
            raise call.unsupported("this activation is not known", given=name)
    if len(found) != len(defaults) * directions:
        raise call.refuse("wrong number of activations", given=str(len(found)))
    return found


def _with_alpha(name: str, alphas: list[float]) -> Activation:
    """The activation with the next of the given numbers, or its own."""
    function, default = _OF_ALPHA[name]
    alpha = alphas.pop(0) if alphas else default
    return lambda x: function(x, alpha)


def _with_both(name: str, alphas: list[float], betas: list[float]) -> Activation:
    function, *defaults = _OF_BOTH[name]
    alpha = alphas.pop(0) if alphas else defaults[0]
    beta = betas.pop(0) if betas else defaults[1]
    return lambda x: function(x, alpha, beta)


def _clipped(call: Call, x: jax.Array) -> jax.Array:
    limit = call.attributes.get("clip")
    return x if limit is None else jnp.clip(x, -limit, limit)


def _layer(call: Call, gates: int, defaults: Sequence[str], step: Step, states: int) -> Value:
    """Runs `step` over time: all outputs, then the last states."""
    x, kernel, recurrent = call.input(0), call.input(1), call.input(2)
    batch_first = bool(call.attribute("layout", 0)) if call.version >= 14 else False
    if batch_first:
        x = x.swapaxes(0, 1)
    batch = x.shape[1]
    hidden = recurrent.shape[-1]
    name = call.attribute("direction", "forward")
    directions = 2 if name == "bidirectional" else 1
    if kernel.shape[0] != directions or name not in ("forward", "reverse", "bidirectional"):
        raise call.refuse("the weights do not fit the direction", given=f"{name}, {kernel.shape[0]}")
    bias = call.input(3) if call.has(3) else jnp.zeros((directions, 2 * gates * hidden), x.dtype)
    lengths = call.input(4) if call.has(4) else None
    initial = [
        (call.input(5 + index).swapaxes(0, 1) if batch_first else call.input(5 + index))
        if call.has(5 + index)
        else jnp.zeros((directions, batch, hidden), x.dtype)
        for index in range(states)
    ]
    peepholes = call.input(7) if states == 2 and call.has(7) else jnp.zeros((directions, 3 * hidden), x.dtype)
    functions = _activations(call, defaults, directions)
    outputs, last = [], []
    for index in range(directions):
        bias_of_input, bias_of_state = jnp.split(bias[index], 2)
        weights = _Direction(
            kernel[index],
            recurrent[index],
            bias_of_input,
            bias_of_state,
            functions[index * len(defaults) : (index + 1) * len(defaults)],
            peepholes[index],
        )
        state = tuple(one[index] for one in initial)
        backwards = name == "reverse" or index == 1
        hidden_states, final = _run(weights, step, x, state, lengths, backwards=backwards)
        outputs.append(hidden_states)
        last.append(final)
    y = jnp.stack(outputs, 1)
    finals = [jnp.stack(parts) for parts in zip(*last, strict=True)]
    if batch_first:
        y, finals = y.transpose(2, 0, 1, 3), [one.swapaxes(0, 1) for one in finals]
    return [y, *finals][: len(call.node.outputs)]


def _run(
    weights: _Direction, step: Step, x: jax.Array, state: State, lengths: jax.Array | None, *, backwards: bool
) -> tuple[jax.Array, State]:
    """Hidden states [length, batch, hidden], and the states after the last step of each sequence."""

    def turn(before: State, now: tuple[jax.Array, jax.Array]) -> tuple[State, jax.Array]:
        inputs, number = now
        after = step(weights, before, inputs)
        shown = after[0]
        if lengths is not None:
            there = (number < lengths)[:, None]
            after = tuple(jnp.where(there, new, old) for new, old in zip(after, before, strict=True))
            shown = jnp.where(there, shown, jnp.zeros_like(shown))
        return after, shown

    numbers = jnp.arange(x.shape[0], dtype=jnp.int32)
    final, shown = jax.lax.scan(turn, state, (x, numbers), reverse=backwards)
    return shown, final


@operator("RNN", 1, 7, 14, 22)
def simple(call: Call) -> Value:
    def step(weights: _Direction, state: State, x: jax.Array) -> State:
        (h,) = state
        total = x @ weights.kernel.T + h @ weights.recurrent.T + (weights.bias + weights.recurrent_bias)
        return (weights.activations[0](_clipped(call, total)),)

    return _layer(call, 1, ("Tanh",), step, 1)


@operator("GRU", 3, 7, 14, 22)
def gated(call: Call) -> Value:
    after_product = bool(call.attribute("linear_before_reset", 0))

    def step(weights: _Direction, state: State, x: jax.Array) -> State:
        (h,) = state
        f, g = weights.activations
        update_x, reset_x, new_x = jnp.split(x @ weights.kernel.T + weights.bias, 3, -1)
        update_r, reset_r, new_r = jnp.split(weights.recurrent, 3, 0)
        update_b, reset_b, new_b = jnp.split(weights.recurrent_bias, 3)
        update = f(_clipped(call, update_x + h @ update_r.T + update_b))
        reset = f(_clipped(call, reset_x + h @ reset_r.T + reset_b))
        inner = reset * (h @ new_r.T + new_b) if after_product else (reset * h) @ new_r.T + new_b
        new = g(_clipped(call, new_x + inner))
        return ((1 - update) * new + update * h,)

    return _layer(call, 3, ("Sigmoid", "Tanh"), step, 1)


@operator("LSTM", 1, 7, 14, 22)
def long_short_term_memory(call: Call) -> Value:
    coupled = bool(call.attribute("input_forget", 0))

    def step(weights: _Direction, state: State, x: jax.Array) -> State:
        h, cell = state
        f, g, out = weights.activations
        total = x @ weights.kernel.T + h @ weights.recurrent.T + (weights.bias + weights.recurrent_bias)
        input_gate, output_gate, forget_gate, new = jnp.split(total, 4, -1)
        input_peep, output_peep, forget_peep = jnp.split(weights.peepholes, 3)
        entering = f(_clipped(call, input_gate + input_peep * cell))
        kept = 1 - entering if coupled else f(_clipped(call, forget_gate + forget_peep * cell))
        cell = kept * cell + entering * g(_clipped(call, new))
        leaving = f(_clipped(call, output_gate + output_peep * cell))
        return leaving * out(cell), cell

    return _layer(call, 4, ("Sigmoid", "Tanh", "Tanh"), step, 2)

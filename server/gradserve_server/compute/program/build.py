"""A spec, checked against the network and the loss that it names, as a `Computation`."""

from __future__ import annotations

from collections.abc import Container
from typing import Any

import jax
import jax.numpy as jnp

from gradserve_server.common.errors import Problem, Reason, near
from gradserve_server.common.selection import choose
from gradserve_server.common.specs import ArraySpec, Mode, ProgramSpec, Selection
from gradserve_server.compute.losses import Loss
from gradserve_server.compute.network import Network, Signature, bind
from gradserve_server.compute.program.capabilities import check_capabilities
from gradserve_server.compute.program.computation import Computation
from gradserve_server.compute.program.padding import PRESENT


def build(spec: ProgramSpec, network: Network, loss: Loss | None) -> Computation:
    """The computation that `spec` asks for.

    Raises:
        Problem: network, loss, weights, batch and selection do not fit together.
    """
    check_capabilities(spec, network)
    dtype = computing_type(network, spec.weights)
    batch = {one.name: jax.ShapeDtypeStruct(one.shape, one.dtype) for one in spec.batch}
    bind(network.inputs, batch)
    _check_batch_names(network, loss, spec)
    signature = network.signature({one.name: batch[one.name] for one in network.inputs}, dtype)
    if signature.mode_matters and spec.options.mode is Mode.UNSPECIFIED:
        raise Problem(
            Reason.MODE_REQUIRED,
            "this node behaves differently in training",
            field="options.mode",
            node=signature.mode_matters,
            expected="MODE_TRAINING or MODE_INFERENCE",
        )
    if spec.weights is None:
        weights = all_weights(signature, dtype)
    else:
        own = network.own_weights if spec.own_weights else {}
        check_weights(signature, spec.weights, own)
        given = {one.name for one in spec.weights}
        held = (one for one in all_weights(signature, dtype) if one.name in own and one.name not in given)
        weights = (*held, *spec.weights)
    for index, name in enumerate(spec.outputs):
        if name not in network.outputs:
            raise Problem(
                Reason.UNKNOWN_NAME,
                "the network has no such output",
                field=f"outputs[{index}]",
                given=repr(name),
                hint=near(name, network.outputs),
            )
    _check_inputs(network, spec.selection)
    selected: tuple[str, ...] = ()
    if not spec.selection.without_parameters:
        selected = choose(signature.parameters, spec.selection.parameters, "gradients.parameters")
    return Computation(network, loss, signature, dtype, spec, weights, selected)


def computing_type(network: Network, weights: tuple[ArraySpec, ...] | None) -> Any:
    """float64 where a weight is, or the network asks for it; where none is sent, where an input is; else float32."""
    types = {one.dtype for one in weights} if weights else {one.dtype for one in network.inputs}
    types |= network.own_types
    return jnp.float64 if "float64" in types else jnp.float32


def all_weights(signature: Signature, dtype: Any) -> tuple[ArraySpec, ...]:
    """Forms of all parameters and statistics in order of name."""
    name = jnp.dtype(dtype).name
    both = _shapes(signature)
    return tuple(ArraySpec(path, name, both[path]) for path in sorted(both))


def _shapes(signature: Signature) -> dict[str, tuple[int, ...]]:
    shapes = {one.name: one.shape for one in signature.parameters.values()}
    return shapes | {one.name: one.shape for one in signature.statistics.values()}


def check_weights(signature: Signature, weights: tuple[ArraySpec, ...], own: Container[str] = ()) -> None:
    """Refuses weights that are missing, not known, or of another shape; those in `own` need not be sent."""
    needed = _shapes(signature)
    given = {one.name: one for one in weights}
    for name, one in given.items():
        if name not in needed:
            raise Problem(
                Reason.UNKNOWN_NAME,
                "the network has no such parameter",
                field=f"weights.{name}",
                given=str(one),
                hint=near(name, [path for path in needed if path not in given] or needed),
            )
    missing = [name for name in needed if name not in given and name not in own]
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise Problem(
            Reason.MISSING_TENSOR,
            f"a weight was not sent{more}",
            field=f"weights.{missing[0]}",
            expected=f"float[{', '.join(str(size) for size in needed[missing[0]])}]",
        )
    for name, one in given.items():
        if one.shape != needed[name]:
            raise Problem(
                Reason.SHAPE_MISMATCH,
                "wrong shape",
                field=f"weights.{name}",
                given=str(one),
                expected=f"{one.dtype}[{', '.join(str(size) for size in needed[name])}]",
            )


def _check_batch_names(network: Network, loss: Loss | None, spec: ProgramSpec) -> None:
    known = {one.name for one in network.inputs} | (loss.tensors if loss else frozenset())
    if spec.padded:
        known |= {PRESENT}
    for one in spec.batch:
        if one.name not in known:
            raise Problem(
                Reason.UNKNOWN_NAME,
                "neither the network nor the loss takes it",
                field=f"batch.{one.name}",
                given=str(one),
                hint=near(one.name, sorted(known)),
            )


def _check_inputs(network: Network, selection: Selection) -> None:
    inputs = {one.name: one for one in network.inputs}
    for index, name in enumerate(selection.inputs):
        field = f"gradients.inputs[{index}]"
        if name not in inputs:
            raise Problem(
                Reason.UNKNOWN_NAME,
                "the network has no such input",
                field=field,
                given=repr(name),
                hint=near(name, inputs),
            )
        if not jnp.issubdtype(jnp.dtype(inputs[name].dtype), jnp.floating):
            raise Problem(
                Reason.NOT_DIFFERENTIABLE,
                f"only floating-point inputs have gradients, and '{name}' is none",
                field=field,
                given=str(inputs[name]),
            )
        if name in network.static_inputs:
            raise Problem(
                Reason.NOT_DIFFERENTIABLE,
                "this input decides shapes, and so has no gradient",
                field=field,
                given=str(inputs[name]),
            )
        if name in selection.inputs[:index]:
            raise Problem(Reason.DUPLICATE_NAME, "named twice", field=field, given=repr(name))
    if selection.without_parameters and not selection.inputs:
        raise Problem(
            Reason.MISSING_FIELD,
            "without gradients of parameters, inputs must be named",
            field="gradients.inputs",
        )

"""An artifact of jax.export, read and checked: its function, the derivatives that it brings, and its names."""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.dtypes
import jax.export

from gradserve_server.common.errors import Problem, Reason, shorten
from gradserve_server.common.specs import Limits, SymbolicSpec
from gradserve_server.compute.frontends.stablehlo.envelope import check_envelope
from gradserve_server.compute.mlir.apart import Module, check_apart
from gradserve_server.compute.mlir.checking import checked_module
from gradserve_server.compute.mlir.types import INDEX, Form

_DIMENSION = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_TYPES = frozenset(
    {"bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"}
    | {"float16", "bfloat16", "float32", "float64"}
)
_FLOATING = frozenset({"float16", "bfloat16", "float32", "float64"})
_EXPORT = "jax.export.export(jax.jit(function))(weights, inputs).serialize(vjp_order=1)"


@dataclasses.dataclass(frozen=True)
class Artifact:
    """A function of two dictionaries, weights and inputs, that gives a dictionary of outputs.

    Attributes:
        function: the function, with its derivatives; nothing in it that was not looked at.
        order: how many times it can be differentiated.
        weights: index of each weight among the function's flat arguments.
        inputs: index of each input.
        outputs: names in the order of the function's flat results.
    """

    function: jax.export.Exported
    order: int
    weights: Mapping[str, int]
    inputs: Mapping[str, int]
    outputs: tuple[str, ...]

    def input_specs(self) -> tuple[SymbolicSpec, ...]:
        """Forms of the inputs."""
        avals = self.function.in_avals
        return tuple(
            SymbolicSpec(name, str(avals[index].dtype), tuple(_size(size) for size in avals[index].shape))
            for name, index in self.inputs.items()
        )


def read_artifact(content: bytes, limits: Limits, field: str, *, apart: bool) -> Artifact:
    """The artifact in `content`.

    Args:
        content: a serialized ``jax.export.Exported``.
        limits: bounds on its size.
        field: its path in the request.
        apart: whether its modules are read in a process of their own, as a stranger's must be.

    Raises:
        Problem: it is none, is too large, has no derivative, or may do what a network must not.
    """
    order = check_envelope(content, field)
    if order < 1:
        raise Problem(
            Reason.UNSUPPORTED_BY_NETWORK,
            "the function was serialized without its derivative",
            field=field,
            expected="vjp_order of at least 1",
            hint=f"Export it with {_EXPORT}.",
            metadata={"capability": "GRADIENTS"},
        )
    try:
        levels = [jax.export.deserialize(bytearray(content))]
        for _ in range(order):
            levels.append(levels[-1].vjp())
    except Exception as error:  # noqa: BLE001 (whatever JAX's reader stumbles over, the bytes are at fault)
        raise Problem(
            Reason.MALFORMED_NETWORK,
            f"not a function serialized by jax.export ({shorten(f'{type(error).__name__}: {error}')})",
            field=field,
        ) from None
    weights, inputs = _arguments(levels[0], field)
    outputs = tuple(_named(_unflatten(levels[0].out_tree), "outputs", field))
    for function, derivative in itertools.pairwise(levels):
        _check_derivative(function, derivative, field)
    _check_forms(levels[0], weights, inputs, outputs, field)
    for level in levels:
        _check_target(level, field)
    modules = [Module(level.mlir_module_serialized, *_forms(level, field)) for level in levels]
    written = (
        check_apart(modules, limits, field)
        if apart
        else [checked_module(one.content, one.inputs, one.outputs, limits, field) for one in modules]
    )
    checked: jax.export.Exported | None = None
    for level, module in zip(reversed(levels), reversed(written), strict=True):
        checked = dataclasses.replace(
            level,
            fun_name="artifact",
            mlir_module_serialized=module,
            # What it says of its own safety.
            disabled_safety_checks=(),
            _get_vjp=None if checked is None else _constant(checked),
        )
    assert checked is not None
    return Artifact(checked, order, weights, inputs, outputs)


def _constant(value: Any) -> Any:
    return lambda _: value


def _unflatten(tree: jax.tree_util.PyTreeDef) -> Any:
    """A tree with the index of each leaf in its place."""
    return jax.tree_util.tree_unflatten(tree, range(tree.num_leaves))


def _arguments(function: jax.export.Exported, field: str) -> tuple[dict[str, int], dict[str, int]]:
    """Indices of the weights and of the inputs by name."""
    arguments, keywords = _unflatten(function.in_tree)
    if len(arguments) != 2 or keywords or not all(isinstance(one, dict) for one in arguments):
        raise Problem(
            Reason.INVALID_NETWORK,
            "the function does not take two dictionaries",
            field=field,
            given=str(function.in_tree),
            expected="weights and inputs, each a dictionary by name",
            hint="gs.from_jax exports such a function.",
        )
    weights, inputs = arguments
    return _named(weights, "weights", field), _named(inputs, "inputs", field)


def _named(tree: Any, of: str, field: str) -> dict[str, int]:
    """Leaves of dictionaries in dictionaries by their paths, such as ``dense_1/kernel``."""
    if not isinstance(tree, dict) or (of == "outputs" and not jax.tree_util.tree_leaves(tree)):
        raise Problem(
            Reason.INVALID_NETWORK,
            "the function does not return its outputs by name",
            field=field,
            expected='a dictionary such as {"logits": logits}',
            hint="gs.from_jax exports such a function.",
        )
    names: dict[str, int] = {}
    for path, index in jax.tree_util.tree_flatten_with_path(tree)[0]:
        name = "/".join(str(getattr(key, "key", getattr(key, "idx", ""))) for key in path)
        if name in names or not all(name.split("/")) or not name.isprintable():
            raise Problem(
                Reason.INVALID_NETWORK,
                f"among the {of}, one has no name of its own",
                field=field,
                given=repr(name),
                expected="a path of names that no other has",
            )
        names[name] = index
    return names


def _check_forms(
    function: jax.export.Exported,
    weights: Mapping[str, int],
    inputs: Mapping[str, int],
    outputs: Sequence[str],
    field: str,
) -> None:
    """Refuses arguments and results of forms that do not travel."""
    known: set[str] = set()
    for name, index in inputs.items():
        aval = function.in_avals[index]
        for size in aval.shape:
            if isinstance(_size(size), str) and not _DIMENSION.fullmatch(str(size)):
                raise Problem(
                    Reason.UNSUPPORTED_OPERATION,
                    "sizes of an input are numbers or names",
                    field=field,
                    node=name,
                    given=str(size),
                    expected="an axis such as batch",
                    metadata={"operation": "shape"},
                )
            known |= {str(size)} if isinstance(_size(size), str) else set()
    for name, index in weights.items():
        aval = function.in_avals[index]
        if str(aval.dtype) not in _FLOATING:
            raise Problem(
                Reason.INVALID_NETWORK,
                "a weight is no floating-point number",
                field=field,
                node=name,
                given=str(aval.dtype),
                hint="Pass it as an input.",
            )
        if not all(isinstance(size, int) for size in aval.shape):
            raise Problem(
                Reason.INVALID_NETWORK, "a weight has a size that is left open", field=field, node=name,
                given=str(aval.shape),
            )  # fmt: skip
    indices = {**{index: name for name, index in weights.items()}, **{index: name for name, index in inputs.items()}}
    names = (*(indices[index] for index in range(len(function.in_avals))), *outputs)
    for name, aval in zip(names, (*function.in_avals, *function.out_avals), strict=True):
        if str(aval.dtype) not in _TYPES:
            raise Problem(
                Reason.UNSUPPORTED_OPERATION,
                "an element type that does not travel",
                field=field,
                node=name,
                given=str(aval.dtype),
                expected=", ".join(sorted(_TYPES)),
                metadata={"operation": str(aval.dtype)},
            )


def _check_derivative(function: jax.export.Exported, derivative: jax.export.Exported, field: str) -> None:
    """Refuses a derivative that is not one of `function`, by what it takes and gives."""
    taken = [*function.in_avals, *(one.to_tangent_aval() for one in function.out_avals)]
    given = [one.to_tangent_aval() for one in function.in_avals]
    same_forms = _texts(derivative.in_avals) == _texts(taken) and _texts(derivative.out_avals) == _texts(given)
    structure: Any = jax.tree_util.tree_structure
    arguments, results = structure(((0,) * len(taken), {})), structure((0,) * len(given))
    if not same_forms or derivative.in_tree != arguments or derivative.out_tree != results:
        raise Problem(
            Reason.MALFORMED_NETWORK,
            "the artifact's derivative does not take and give what one of its function must",
            field=field,
        )


def _texts(avals: Sequence[Any]) -> list[tuple[str, str]]:
    # Symbols of two artifacts cannot be compared, their names can.
    return [(str(aval.dtype), str(aval.shape)) for aval in avals]


def _check_target(function: jax.export.Exported, field: str) -> None:
    """Refuses a function for other machines."""
    platform = {"gpu": "cuda"}.get(jax.default_backend(), jax.default_backend())
    if platform not in function.platforms:
        raise Problem(
            Reason.UNSUPPORTED_OPERATION,
            "the function was exported for other machines",
            field=field,
            given=", ".join(function.platforms),
            expected=platform,
            hint='Export it with platforms=["cpu", "cuda"].',
            metadata={"operation": "platform"},
        )
    if function.nr_devices != 1:
        raise Problem(
            Reason.UNSUPPORTED_OPERATION,
            "the function was exported for several devices",
            field=field,
            given=str(function.nr_devices),
            expected="1",
            metadata={"operation": "devices"},
        )


def _forms(function: jax.export.Exported, field: str) -> tuple[tuple[Form, ...], tuple[Form, ...]]:
    """What the function ``main`` of the module takes and gives."""
    kept = function.module_kept_var_idx
    if list(kept) != sorted(set(kept) & set(range(len(function.in_avals)))):
        raise Problem(Reason.MALFORMED_NETWORK, "the artifact names arguments that it does not have", field=field)
    first = [Form(INDEX, ())] if len(function.platforms) > 1 else []
    taken = (*first, *(_form(function.in_avals[one]) for one in kept))
    return taken, tuple(_form(one) for one in function.out_avals)


def _form(aval: Any) -> Form:
    # Cotangents of integers, which hold nothing, are booleans in a module.
    name = "bool" if aval.dtype == jax.dtypes.float0 else str(aval.dtype)
    return Form(name, tuple(size if isinstance(size, int) else None for size in aval.shape))


def _size(size: Any) -> int | str:
    return size if isinstance(size, int) else str(size)

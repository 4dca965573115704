"""Functions of JAX as networks. JAX is needed here and nowhere else in this package."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from gradserve.errors import InvalidRequest, MissingExtra
from gradserve.network import Network, Spec, TensorInfo, form_of
from gradserve.tensors import ArrayLike, has_dtype, to_dtype

_NEEDS = "gs.from_jax needs JAX: pip install 'gradserve[jax]'"


def from_jax(
    function: Callable[[Any, Any], Any],
    weights: Any,
    inputs: Mapping[str, ArrayLike | Spec | tuple[int | str, ...]],
    *,
    platforms: Sequence[str] = ("cpu", "cuda"),
    vjp_order: int = 1,
) -> Network:
    """A network from a function of JAX, which the server then computes without its source.

    Example:
        >>> def function(weights, inputs):
        ...     return {"logits": inputs["x"] @ weights["kernel"] + weights["bias"]}
        >>> net = gs.from_jax(function, weights, {"x": ("batch", 64)})
        >>> client.gradients(net, weights, {"x": x, "y": y}, loss=gs.softmax_cross_entropy("y", "logits"))

    Weights in dictionaries of dictionaries are named by their path, such as ``dense_1/kernel``: `flatten_weights` makes
    such names, and `unflatten_weights` makes gradients a tree again.

    Args:
        function: takes (weights, inputs) and returns outputs by name, or one array, which is then called ``output``.
        weights: a dictionary of arrays, or of dictionaries and lists of them; only shapes and element types matter.
        inputs: an array for each input, or its shape as a tuple or `spec`, in which a string such as ``"batch"`` names
            a size that the batch decides.
        platforms: what the server may compute on.
        vjp_order: how many times the function can be differentiated; 2 for Hessian products.

    Raises:
        MissingExtra: JAX is not installed.
        InvalidRequest: the function cannot be exported, or its arguments are none.
    """
    jax = _jax()
    if not isinstance(inputs, Mapping):
        raise InvalidRequest.because(
            "no inputs", field="inputs", given=type(inputs).__name__, expected="arrays by name"
        )
    specs = {name: _spec_of(value, f"inputs.{name}") for name, value in inputs.items()}
    scope = jax.export.SymbolicScope()
    arguments = (
        jax.tree_util.tree_map(lambda leaf: jax.ShapeDtypeStruct(np.shape(leaf), _dtype_of(leaf)), weights),
        {name: jax.ShapeDtypeStruct(_sizes(jax, spec, scope), spec.dtype) for name, spec in specs.items()},
    )

    def named(weights: Any, inputs: Any) -> Any:
        result = function(weights, inputs)
        return result if isinstance(result, dict) else {"output": result}

    # What the function itself does wrong is raised as it is.
    outputs = jax.eval_shape(named, *arguments)
    try:
        exported = jax.export.export(jax.jit(named), platforms=tuple(platforms))(*arguments)
        content = bytes(exported.serialize(vjp_order=vjp_order))
    except ImportError as error:
        raise MissingExtra(f"{_NEEDS} ({error})") from error
    except (ValueError, TypeError, NotImplementedError) as error:
        raise InvalidRequest.because(f"the function cannot be exported ({error})", field="function") from error
    _check_types(exported.in_avals, jax.tree_util.tree_leaves(arguments))
    return Network.imported(
        "stablehlo",
        content,
        tuple(TensorInfo(name, spec.dtype, spec.shape) for name, spec in specs.items()),
        tuple(_path(path) for path, _ in jax.tree_util.tree_flatten_with_path(outputs)[0]),
    )


def _jax() -> Any:
    try:
        import jax
        import jax.export
    except ModuleNotFoundError as error:
        raise MissingExtra(f"{_NEEDS} ({error})") from error
    return jax


def _spec_of(value: Any, field: str) -> Spec:
    if has_dtype(value) and not isinstance(value, Spec):
        return Spec(tuple(np.shape(value)), to_dtype(value.dtype, field))
    return form_of(value, field)


def _dtype_of(leaf: Any) -> Any:
    return leaf.dtype if has_dtype(leaf) else np.dtype(np.float32)


def _sizes(jax: Any, spec: Spec, scope: Any) -> Any:
    return jax.export.symbolic_shape(", ".join(map(str, spec.shape)), scope=scope) if spec.shape else ()


def _check_types(exported: Sequence[Any], wanted: Sequence[Any]) -> None:
    """Refuses what JAX has narrowed: it makes float32 of float64 in silence, unless 64 bits are switched on."""
    for one, form in zip(exported, wanted, strict=True):
        if one.dtype != form.dtype:
            raise InvalidRequest.because(
                "JAX does not compute in this type as it is set up",
                field="weights",
                given=str(form.dtype),
                expected=str(one.dtype),
                hint='Convert the arrays, or call jax.config.update("jax_enable_x64", True) first.',
            )


def _path(path: Sequence[Any]) -> str:
    return "/".join(str(getattr(key, "key", getattr(key, "idx", key))) for key in path)

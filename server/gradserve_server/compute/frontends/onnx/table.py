"""The table of operators: a row for each version that changed something, entered by the functions in `operators`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from gradserve_server.compute.frontends.onnx.call import Call

# What a name stands for while a model is evaluated: a NumPy array where it is known at tracing (with elements that
# are symbols where sizes are), else a JAX array; a tuple of these for a sequence; None for an empty optional.
Value: TypeAlias = Any

Function: TypeAlias = Callable[["Call"], Value]


@dataclasses.dataclass(frozen=True)
class Operator:
    """A row.

    Attributes:
        domain: empty for ONNX's own.
        name: the operator.
        since_version: the version of the operator set that this form of it came with.
        function: computes the output; a list of them where there are several.
        static: positions of inputs that decide shapes or what is computed, and so must be known at tracing.
        forms_only: positions of inputs of which only type and shape matter.
        folds: whether it also computes with NumPy, if all inputs are known at tracing.
    """

    domain: str
    name: str
    since_version: int
    function: Function
    static: frozenset[int]
    forms_only: frozenset[int]
    folds: bool


OPERATORS: dict[tuple[str, str, int], Operator] = {}


def operator(
    name: str,
    *since_versions: int,
    static: tuple[int, ...] = (),
    forms_only: tuple[int, ...] = (),
    folds: bool = False,
    domain: str = "",
) -> Callable[[Function], Function]:
    """Enters the decorated function as `name`, in the forms that came with `since_versions`."""

    def enter(function: Function) -> Function:
        for version in since_versions:
            row = Operator(domain, name, version, function, frozenset(static), frozenset(forms_only), folds)
            if (domain, name, version) in OPERATORS:
                raise ValueError(f"{name} {version} is in the table already")
            OPERATORS[domain, name, version] = row
        return function

    return enter

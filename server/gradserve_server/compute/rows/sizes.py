"""Whether what a program gives for an example depends on how many examples there are.

A batch size may enter a program other than through its examples: as a number that divides a sum, as a table with a row
for each example, as random numbers drawn for all of them. So a program is traced at two sizes, and the traces are held
against each other: where they differ in more than the sizes of arrays of examples, the size matters. As with rows,
what is not known to be independent is taken to depend.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, final

import jax
import numpy as np
from jax.extend import core

from gradserve_server.compute.rows.analysis import CALLS, Analysis, inner_jaxpr, read
from gradserve_server.compute.rows.layout import Form, Mixing, State, node_of
from gradserve_server.compute.rows.rules import ELEMENTWISE, shape_of

# Parameters of primitives that are sizes of arrays, or places in them.
_SIZES = frozenset({"shape", "new_sizes", "limit_indices", "start_indices", "slice_sizes", "sizes", "padding_config"})


def find_size_dependence(
    programs: tuple[core.ClosedJaxpr, core.ClosedJaxpr], sizes: tuple[int, int], inputs: Sequence[Form]
) -> Mixing | None:
    """What depends on the number of examples; None where nothing does.

    Args:
        programs: the program traced with each number of examples; it keeps them apart (`find_rows`).
        sizes: the numbers of examples; neither divides the other.
        inputs: for each input, where its examples lie; None for what is the same for all.
    """
    return _Comparison(sizes).closed(*programs, tuple(inputs), "")


@final
class _Comparison:
    """Two traces of one program, walked side by side."""

    def __init__(self, sizes: tuple[int, int]) -> None:
        self._sizes = sizes
        self._analysis = Analysis(sizes[0])

    def closed(self, one: Any, other: Any, inputs: tuple[State, ...], outer: str) -> Mixing | None:
        """What depends in a jaxpr, closed or not."""
        constants = [list(getattr(each, "consts", ())) for each in (one, other)]
        if not all(_same(a, b) for a, b in zip(*constants, strict=True)):
            return Mixing(outer, "constant")
        return self._jaxprs(inner_jaxpr(one), inner_jaxpr(other), inputs, outer)

    def _jaxprs(self, one: core.Jaxpr, other: core.Jaxpr, inputs: tuple[State, ...], outer: str) -> Mixing | None:
        if len(one.eqns) != len(other.eqns) or len(one.constvars) != len(other.constvars):
            return Mixing(outer, "")
        states = self._analysis.states(one, inputs, outer)
        twins = dict(zip([*one.constvars, *one.invars], [*other.constvars, *other.invars], strict=True))
        for a, b in zip(one.eqns, other.eqns, strict=True):
            place = Mixing(node_of(a, outer), a.primitive.name)
            if a.primitive is not b.primitive or not _same_operands(a.invars, b.invars, twins):
                return place
            twins.update(zip(a.outvars, b.outvars, strict=True))
            found = self._equations(a, b, [read(states, atom) for atom in a.invars], place)
            if found is not None:
                return found
        return None if _same_operands(one.outvars, other.outvars, twins) else Mixing(outer, "")

    def _equations(self, one: Any, other: Any, states: list[State], place: Mixing) -> Mixing | None:
        for name, value in one.params.items():
            if not self._same_parameter(name, value, other.params[name]):
                return place
        for inner, twin, inputs in self._inner(one, other, states, place):
            found = self.closed(inner, twin, inputs, place.node)
            if found is not None:
                return found
        if one.primitive.name in CALLS or one.primitive.name in _INNER:
            return None
        return None if self._keeps_sizes_out(one, other, states) else place

    def _inner(
        self, one: Any, other: Any, states: list[State], place: Mixing
    ) -> list[tuple[Any, Any, tuple[State, ...]]]:
        """The jaxprs in an equation and in its twin, with the states of their inputs."""
        name = one.primitive.name
        if name in CALLS:
            return [(one.params[CALLS[name]], other.params[CALLS[name]], tuple(states))]
        if name in _INNER:
            return _INNER[name](self._analysis, one, other, states, place)
        both = zip(_jaxprs_of(one.params), _jaxprs_of(other.params), strict=True)
        return [(a, b, (None,) * len(inner_jaxpr(a).invars)) for a, b in both]

    def _same_parameter(self, name: str, one: Any, other: Any) -> bool:
        if _holds_jaxprs(one) or callable(one):
            # Compared as programs; functions are what those were traced from.
            return type(one) is type(other)
        if name in _SIZES:
            return self._scales(one, other)
        return _same(one, other)

    def _scales(self, one: Any, other: Any) -> bool:
        """Whether sizes are equal, or grow with the number of examples."""
        if isinstance(one, tuple):
            return len(one) == len(other) and all(self._scales(a, b) for a, b in zip(one, other, strict=True))
        if isinstance(one, int) and isinstance(other, int):
            return one == other or one * self._sizes[1] == other * self._sizes[0]
        return _same(one, other)

    def _keeps_sizes_out(self, one: Any, other: Any, states: Sequence[State]) -> bool:
        """Whether what depends on no example, and has a place for each, is the same at each place for any number."""
        pairs = [(shape_of(a), shape_of(b)) for a, b in zip(one.invars, other.invars, strict=True)]
        operands = [pair for pair, state in zip(pairs, states, strict=True) if state is None]
        results = [(a.aval.shape, b.aval.shape) for a, b in zip(one.outvars, other.outvars, strict=True)]
        is_shared = all(state is None for state in states)
        if all(a == b for a, b in (*operands, *(results if is_shared else ()))):
            return True
        match one.primitive.name:
            case "broadcast_in_dim":
                return True
            case "iota":
                axis = one.params["dimension"]
                shapes = (one.params["shape"][axis], other.params["shape"][axis])
                return shapes[0] == shapes[1] or shapes == self._sizes
            case "random_bits":
                # Each number is drawn from its place alone, counted row by row.
                by_place = bool(jax.config.jax_threefry_partitionable)  # type: ignore[attr-defined]
                return by_place and all(self._grows_in_front(*pair) for pair in results)
            case "reshape" | "squeeze" | "expand_dims":
                return is_shared and all(self._grows_in_front(*pair) for pair in (*operands, *results))
            case name:
                return name in ELEMENTWISE

    def _grows_in_front(self, one: tuple[int, ...], other: tuple[int, ...]) -> bool:
        return (one[:1] + other[:1]) == self._sizes and one[1:] == other[1:]


def _scan(analysis: Analysis, one: Any, other: Any, states: list[State], place: Mixing) -> list[Any]:
    inside = analysis.scan_states(one, states, place.node)
    return [(one.params["jaxpr"], other.params["jaxpr"], inside)]


def _while(analysis: Analysis, one: Any, other: Any, states: list[State], place: Mixing) -> list[Any]:
    carry = analysis.while_states(one, states, place.node)
    first = one.params["cond_nconsts"]
    last = first + one.params["body_nconsts"]
    return [
        (one.params["cond_jaxpr"], other.params["cond_jaxpr"], (*states[:first], *carry)),
        (one.params["body_jaxpr"], other.params["body_jaxpr"], (*states[first:last], *carry)),
    ]


def _cond(_analysis: Analysis, one: Any, other: Any, states: list[State], _place: Mixing) -> list[Any]:
    branches = zip(one.params["branches"], other.params["branches"], strict=True)
    return [(a, b, tuple(states[1:])) for a, b in branches]


_INNER: Mapping[str, Callable[..., list[Any]]] = {"scan": _scan, "while": _while, "cond": _cond}


def _same_operands(one: Sequence[Any], other: Sequence[Any], twins: Mapping[Any, Any]) -> bool:
    """Whether equal numbers, and values that correspond."""
    return len(one) == len(other) and all(
        isinstance(b, core.Literal) and _same(a.val, b.val) if isinstance(a, core.Literal) else twins.get(a) is b
        for a, b in zip(one, other, strict=True)
    )


def _same(one: Any, other: Any) -> bool:
    if type(one) is not type(other):
        return False
    if isinstance(one, float) or hasattr(one, "__array__"):
        a, b = np.asarray(one), np.asarray(other)
        # By their bytes: NaN is itself here.
        return a.shape == b.shape and a.dtype == b.dtype and a.tobytes() == b.tobytes()
    return bool(one == other)


def _holds_jaxprs(value: Any) -> bool:
    return bool(_jaxprs_of({"": value}))


def _jaxprs_of(parameters: Mapping[str, Any]) -> list[Any]:
    kinds = (core.Jaxpr, core.ClosedJaxpr)
    found = []
    for value in parameters.values():
        found += [one for one in (value if isinstance(value, tuple) else (value,)) if isinstance(one, kinds)]
    return found

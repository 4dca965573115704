"""Sums of products over named axes."""

from __future__ import annotations

import re
import string
from typing import Any

import jax
import jax.numpy as jnp

from gradserve.v1 import network_pb2
from gradserve_server.compute.frontends.graph.call import Call, Value, promote
from gradserve_server.compute.frontends.graph.table import operation

_TERM = re.compile(r"([A-Za-z]*)(\.\.\.)?([A-Za-z]*)", re.ASCII)


@operation("einsum", inputs=(1, None))
def einsum(call: Call[network_pb2.Einsum]) -> Value:
    """The sum of products that the equation names, as NumPy's einsum."""
    arrays = promote(call, call.inputs)
    if arrays[0].dtype == jnp.bool_:
        raise call.refuse_input(0, "it takes numbers, not booleans", "Put a `cast` before it.")
    y: jax.Array = jnp.einsum(_equation(call, arrays), *arrays, preferred_element_type=arrays[0].dtype)
    return y


def _equation(call: Call[network_pb2.Einsum], arrays: list[jax.Array]) -> str:
    """The equation with a letter for each axis of ``...``, known to fit the arrays."""
    equation = call.attributes.equation
    left, arrow, result = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    if not arrow or not all(_TERM.fullmatch(term) for term in (*terms, result)):
        raise _refuse(call, "not an equation", "letters and ... for each input, then ->, such as 'bik,kj->bij'")
    if len(terms) != len(arrays):
        raise _refuse(call, f"it has {len(terms)} terms for {len(arrays)} inputs", f"{len(arrays)} terms before ->")
    spare = [letter for letter in string.ascii_letters if letter not in equation]
    counts = [array.ndim - len(term.replace("...", "")) for term, array in zip(terms, arrays, strict=True)]
    for index, (term, count) in enumerate(zip(terms, counts, strict=True)):
        if count < 0 or (count > 0 and "..." not in term):
            raise call.refuse_input(index, f"the equation's term '{term}' has not its number of axes")
    most = max((count for term, count in zip(terms, counts, strict=True) if "..." in term), default=0)
    if most > len(spare):
        raise _refuse(call, "more axes than letters", f"at most {len(string.ascii_letters)} axes in all")
    if most and "..." not in result:
        raise _refuse(call, "the result leaves out the axes of ...", "a result with ...")
    names = "".join(spare[:most])
    spelled = [term.replace("...", names[most - count :]) for term, count in zip(terms, counts, strict=True)]
    whole = result.replace("...", names)
    sizes: dict[str, Any] = {}
    for index, (letters, array) in enumerate(zip(spelled, arrays, strict=True)):
        for letter, size in zip(letters, array.shape, strict=True):
            if sizes.setdefault(letter, size) != size:
                shown = "..." if letter in names else letter
                raise call.refuse_input(index, f"axis '{shown}' is {size} here and {sizes[letter]} before it")
    unknown = sorted(set(whole) - set(sizes))
    if unknown:
        raise _refuse(call, f"the result has axes that no input has: {', '.join(unknown)}", "axes of the inputs")
    if len(set(whole)) != len(whole):
        raise _refuse(call, "the result has an axis twice", "each axis once")
    return f"{','.join(spelled)}->{whole}"


def _refuse(call: Call[network_pb2.Einsum], message: str, expected: str) -> Exception:
    return call.refuse("equation", message, given=repr(call.attributes.equation), expected=expected)

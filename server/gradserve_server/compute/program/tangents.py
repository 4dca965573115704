"""Directions that come with a request: tangents of weights and inputs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import jax
import jax.numpy as jnp

from gradserve_server.common.errors import Problem, Reason, near
from gradserve_server.common.specs import ArraySpec, describe
from gradserve_server.compute.program.computation import Arguments, Arrays, Computation


def of_parameters(computation: Computation, arguments: Arguments, field: str) -> Arrays:
    """Tangents of parameters, by name; those that were not sent are missing.

    Args:
        computation: the computation.
        arguments: its arrays.
        field: the request's field that they come in.

    Raises:
        Problem: one is of no parameter, or not of its parameter's form.
    """
    sent = {one.name: one for one in computation.weights}
    known = computation.signature.parameters
    return {
        name: value.astype(computation.dtype)
        for name, value in _fitting(
            arguments.vectors, field, known, sent, dict.fromkeys(computation.signature.statistics, "a statistic")
        )
    }


def of_inputs(computation: Computation, arguments: Arguments, field: str) -> Arrays:
    """Tangents of inputs of the network, as `of_parameters`."""
    inputs = {one.name for one in computation.network.inputs}
    sent = {one.name: one for one in computation.spec.batch}
    whole = {
        name: f"of type {one.dtype}"
        for name, one in sent.items()
        if not jnp.issubdtype(jnp.dtype(one.dtype), jnp.floating)
    }
    return {
        name: value.astype(computation.dtype)
        for name, value in _fitting(arguments.vectors, field, inputs - whole.keys(), sent, whole)
    }


def zeros_where_missing(tangents: Arrays, primals: Arrays) -> Arrays:
    """A tangent for each of `primals`."""
    return {name: tangents[name] if name in tangents else jnp.zeros_like(value) for name, value in primals.items()}


def _fitting(
    vectors: Mapping[str, jax.Array],
    field: str,
    known: Iterable[str],
    sent: Mapping[str, ArraySpec],
    without: Mapping[str, str],
) -> list[tuple[str, jax.Array]]:
    """Names and values of the vectors of `field`, each checked to be of the form of what it is a tangent of."""
    found = []
    names = frozenset(known)
    for place, value in vectors.items():
        if not place.startswith(f"{field}."):
            continue
        name = place.removeprefix(f"{field}.")
        given = describe(value.dtype, value.shape)
        if name in without:
            raise Problem(
                Reason.NOT_DIFFERENTIABLE,
                f"it would be the tangent of what is {without[name]}",
                field=place,
                given=given,
            )
        if name not in names:
            raise Problem(
                Reason.UNKNOWN_NAME,
                "it is the tangent of nothing that the network has",
                field=place,
                given=given,
                hint=near(name, sorted(names)),
            )
        expected = sent[name]
        if value.dtype != expected.dtype:
            raise Problem(
                Reason.DTYPE_MISMATCH,
                "a tangent has the element type of what it is a tangent of",
                field=place,
                given=given,
                expected=str(expected),
            )
        if value.shape != expected.shape:
            raise Problem(
                Reason.SHAPE_MISMATCH,
                "a tangent has the shape of what it is a tangent of",
                field=place,
                given=given,
                expected=str(expected),
            )
        found.append((name, value))
    return found

"""Requests of one program in one run: a loop over the stack of their arguments that turns once for each of them.

A turn calls the function that a run of its request alone is. The compiler must not open that call: what it fuses across
it rounds otherwise. Computing all requests at once (`jax.vmap`) would change the bits with their number.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental.xla_metadata import set_xla_metadata
from jax.extend import core

from gradserve_server.common.specs import ArraySpec, ResultSpec
from gradserve_server.compute.jaxprs import traced

Function = Callable[..., list[jax.Array]]
# A request with more bytes of arguments and results than this gains less than copying them into a stack costs.
_MOST_BYTES = 256 << 10
_FAILED = "failed"


def is_small(arguments: Sequence[ArraySpec], results: Sequence[ResultSpec]) -> bool:
    """Whether stacking such requests costs less than it gains."""
    return sum(one.nbytes for one in arguments) + sum(one.array.nbytes for one in results) <= _MOST_BYTES


def stacked_arguments(arguments: Sequence[ArraySpec], requests: int) -> tuple[ArraySpec, ...]:
    """Forms of what a run of up to `requests` takes: the stacks, the seed of each, and how many there are."""
    seeds, count = ArraySpec("seeds", "int64", (requests,)), ArraySpec("count", "int32", ())
    return (*(_stacked(one, requests) for one in arguments), seeds, count)


def stacked_results(results: Sequence[ResultSpec], checks: int, requests: int) -> tuple[ResultSpec, ...]:
    """Forms of what it gives: the stacks, and if there are `checks`, which of them each request fails."""
    stacks = tuple(ResultSpec(one.group, _stacked(one.array, requests)) for one in results)
    failed = ResultSpec(_FAILED, ArraySpec(_FAILED, "bool", (requests, checks)))
    return (*stacks, failed) if checks else stacks


def grouped(function: Function, own: int, requests: int) -> Function:
    """`function` of `own` arrays that all requests share, arrays of one request and a seed, for up to `requests`.

    It takes the shared arrays, then what `stacked_arguments` says, then a seed that it does not use; rows of its
    results beyond the number of requests are zeros.
    """

    def run(*arrays: jax.Array) -> list[jax.Array]:
        shared, stacks, (seeds, count, _) = arrays[:own], arrays[own:-3], arrays[-3:]
        rows = [jax.ShapeDtypeStruct(one.shape[1:], one.dtype) for one in (*stacks, seeds)]
        closed, _ = traced(function, (*shared, *rows))
        function_of_jaxpr = core.jaxpr_as_fun(closed)

        @jax.jit
        def alone(*arguments: jax.Array) -> list[jax.Array]:
            with set_xla_metadata(inlineable=None):
                return list(function_of_jaxpr(*arguments))

        def turn(place: jax.Array, results: list[jax.Array]) -> list[jax.Array]:
            row = [jax.lax.dynamic_index_in_dim(one, place, keepdims=False) for one in (*stacks, seeds)]
            with set_xla_metadata(inlineable="false"):
                found = alone(*shared, *row)
            return [
                jax.lax.dynamic_update_index_in_dim(stack, one, place, 0)
                for stack, one in zip(results, found, strict=True)
            ]

        empty = [jnp.zeros((requests, *one.shape), one.dtype) for one in closed.out_avals]
        return list(jax.lax.fori_loop(0, count, turn, empty))

    return run


def gives_same_bits(
    alone: Callable[..., Sequence[Any]],
    group: Callable[..., Sequence[Any]],
    own: Sequence[Any],
    arguments: Sequence[ArraySpec],
    requests: int,
) -> bool:
    """Whether requests with random numbers get the same bits in a run of all but one that there is room for, as alone.

    The compiler promises nothing of the kind: what it fuses in a loop may round otherwise.
    """
    random = np.random.default_rng(0)
    stacks = [_random(random, _stacked(one, requests)) for one in arguments]
    seeds = random.integers(0, 1 << 40, requests)
    count = requests - 1
    found = [np.asarray(one) for one in group(*own, *stacks, seeds, np.int32(count), np.int64(0))]
    return all(
        np.asarray(one).tobytes() == stack[place].tobytes()
        for place in range(count)
        for one, stack in zip(alone(*own, *(stack[place] for stack in stacks), seeds[place]), found, strict=True)
    )


def one_after_another(alone: Callable[..., Sequence[Any]], own: int, requests: int) -> Callable[..., Sequence[Any]]:
    """What `grouped` makes of a function, of its compiled program: no loop of the device, but the very same code."""

    def run(*arrays: Any) -> Sequence[Any]:
        shared, stacks, (seeds, count, _) = arrays[:own], arrays[own:-3], arrays[-3:]
        rows = [[np.asarray(one) for one in alone(*shared, *(stack[0, ...] for stack in stacks), seeds[0])]]
        for place in range(1, int(count)):
            found = alone(*shared, *(stack[place, ...] for stack in stacks), seeds[place])
            rows.append([np.asarray(one) for one in found])
        results = [np.zeros((requests, *one.shape), one.dtype) for one in rows[0]]
        for place, row in enumerate(rows):
            for stack, one in zip(results, row, strict=True):
                stack[place] = one
        return results

    return run


def _stacked(array: ArraySpec, requests: int) -> ArraySpec:
    return ArraySpec(array.name, array.dtype, (requests, *array.shape))


def _random(random: np.random.Generator, array: ArraySpec) -> np.ndarray:
    """Numbers that are good for weights and examples; whole ones that are good for indices, if only 0 and 1."""
    dtype = np.dtype(array.dtype)
    if jnp.issubdtype(dtype, jnp.inexact):
        return random.standard_normal(array.shape).astype(dtype)
    return random.integers(0, 2, array.shape).astype(dtype)

"""Traces of each operation: gradients of parameters as ComputeGradients gives them, all others against differences."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from msgspec import structs

from gradserve.tensors import to_tensor
from gradserve.v1 import loss_pb2, network_pb2
from gradserve_server.common.specs import Limits, Mode, NetworkSource, Options, ProgramSpec
from gradserve_server.common.tracing import Layout, Request
from gradserve_server.compute import program
from gradserve_server.compute.executor import Executor
from gradserve_server.compute.losses import load_loss
from gradserve_server.compute.program import trace as tracing
from gradserve_server.front.convert import forms
from gradserve_server.front.losses import read_loss
from tests.conformance.operations.graphs import QUICK, draw, graph, load, signature
from tests.conformance.operations.parts import Part, chunks, part, specs
from tests.conformance.operations.rows import Row

TURNS = 2
STEP = 1e-6


@dataclasses.dataclass(frozen=True)
class Case:
    """Rows in one network, each a block of its own, and a vector for each of their results as the loss."""

    parts: tuple[Part, ...]
    asked: ProgramSpec
    weights: dict[str, np.ndarray]
    batch: dict[str, np.ndarray]
    vectors: dict[str, np.ndarray]

    @property
    def arguments(self) -> list[np.ndarray]:
        return [*self.weights.values(), *self.batch.values(), *self.vectors.values()]


def case(rows: Sequence[Row], turns: int) -> Case:
    parts = tuple(part(row, f"row{index}", turns) for index, row in enumerate(rows))
    batch = dict(sorted({name: value for one in parts for name, value in one.inputs.items()}.items()))
    message = graph(specs(batch), *(one.block for one in parts), outputs=[one.name for one in parts])
    found = signature(load(message), batch)
    generator = np.random.default_rng(len(rows))
    weights = dict(sorted({name: v for drawn in draw(found, generator) for name, v in drawn.items()}.items()))
    cotangents = {
        name: to_tensor(generator.normal(size=form.shape), name)
        for name, form in found.outputs.items()
        if form.dtype == np.float64
    }
    loss, vectors = read_loss(loss_pb2.Loss(cotangents=loss_pb2.Loss.Cotangents(by_output=cotangents)), 1 << 24)
    vectors = dict(sorted(vectors.items()))
    asked = ProgramSpec(
        kind="trace",
        network=NetworkSource("graph", message.SerializeToString()),
        loss=loss,
        batch=forms(batch),
        weights=forms(weights),
        vectors=forms(vectors),
        options=Options(mode=Mode.TRAINING if rows[0].training else Mode.INFERENCE),
        trace=Request(whole_tensors_up_to=1 << 20),
    )
    return Case(parts, asked, weights, batch, vectors)


def compute(executor: Executor, asked: ProgramSpec, one: Case) -> tuple[dict[str, dict[str, Any]], Layout | None]:
    prepared = executor.prepare(asked)
    arrays, _ = executor.run(prepared.key, one.arguments, 0, 0)
    groups: dict[str, dict[str, Any]] = {}
    for result, array in zip(prepared.results, arrays, strict=True):
        groups.setdefault(result.group, {})[result.array.name] = array
    return groups, prepared.layout


def losses_of_changes(one: Case) -> tuple[Any, tracing.Differentiated]:
    """The loss as a function of inputs, parameters, and a change of each value, and a point without changes."""
    computation = program.build(one.asked, load_network(one.asked), load_loss(one.asked.loss, Limits()))
    arguments = computation.arguments(
        *(
            {name: jnp.asarray(value) for name, value in group.items()}
            for group in (one.weights, one.batch, one.vectors)
        ),
        seed=jnp.zeros((), jnp.int64),
    )
    record, shapes = tracing.look(computation, arguments)

    def loss(at: tracing.Differentiated) -> jax.Array:
        return tracing.objective(computation, arguments, record, at, changes=True)[0]

    return jax.jit(loss, compiler_options=QUICK), tracing.start(computation, arguments, record, shapes)


def load_network(asked: ProgramSpec) -> Any:
    message = network_pb2.Graph.FromString(asked.network.content)
    return load(message)


def has_no_slope(one: Case, name: str, turns: int) -> bool:
    """Whether differences tell nothing: the gradient is zero by definition, or a second maximum meets ties of a first.

    With turns that is so of what a turn leaves to the next, too.
    """
    ends = ("_", "/") if turns > 1 else ("_",)
    return any(
        part.row.flat or (turns > 1 and part.row.name.startswith("pooling max"))
        for part in one.parts
        if name.startswith(tuple(f"{part.name}{end}" for end in ends))
    )


def is_close(given: float, slope: float) -> bool:
    return abs(given - slope) <= 3e-7 + 1e-5 * abs(slope)


def assert_between(
    gradient: np.ndarray, slopes: Callable[[np.ndarray], tuple[float, float]], moved: np.ndarray
) -> None:
    """At a kink, as a second relu has at the zeros of the first, each element lies between the slopes beside it."""
    for element in moved:
        direction = np.zeros(gradient.shape)
        direction.flat[element] = 1.0
        low, high = sorted(slopes(direction))
        given = float(gradient.flat[element])
        # On one side alone, the error of a difference is of the first order.
        slack = 1e-4 * (1 + abs(given))
        assert low - slack <= given <= high + slack, (np.unravel_index(element, gradient.shape), low, given, high)


def places(value: Any, layout: Layout, name: str) -> list[Any]:
    """Each turn of a value in a repeated block; all of any other."""
    turns = {site.key: len(site.within) for site in layout.sites}
    return list(np.ndindex(value.shape[: turns[name]]))


CHUNKS = chunks()


@pytest.fixture(scope="module", autouse=True)
def jax_as_on_the_server() -> Iterator[None]:
    """The rest of a program promotes as JAX does by default; only how fast it compiles is another matter."""
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", True)
    try:
        with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
            yield
    finally:
        jax.config.update("jax_disable_most_optimizations", before)


@pytest.fixture(scope="module")
def executor() -> Executor:
    return Executor(Limits())


@pytest.mark.parametrize(
    ("rows", "turns"),
    [
        pytest.param(
            rows,
            turns,
            marks=() if index == 1 and turns == TURNS else pytest.mark.long,
            id=f"{rows[0].name} to {rows[-1].name}, {turns} turns",
        )
        for index, rows in enumerate(CHUNKS)
        for turns in (1, TURNS)
    ],
)
def test_gradients_of_a_trace_are_those_of_compute_gradients_and_of_differences(
    executor: Executor, rows: list[Row], turns: int
) -> None:
    one = case(rows, turns)
    traced, layout = compute(executor, one.asked, one)
    gradients, _ = compute(executor, structs.replace(one.asked, kind="gradients", trace=Request()), one)
    assert layout is not None
    for name, gradient in gradients.get("gradient", {}).items():
        np.testing.assert_array_equal(traced["gradient"][name], gradient, strict=True)
    found: Mapping[str, np.ndarray] = traced["gradient"]
    loss, at = losses_of_changes(one)
    here = float(loss(at))

    def slopes(kind: str, name: str, direction: np.ndarray) -> tuple[float, float]:
        """Of the loss along a direction, ahead and behind."""
        group = getattr(at, kind)
        moved = [
            float(loss(dataclasses.replace(at, **{kind: group | {name: group[name] + sign * STEP * direction}})))
            for sign in (1, -1)
        ]
        return (moved[0] - here) / STEP, (here - moved[1]) / STEP

    generator = np.random.default_rng(turns)
    checked = 0
    for kind, group in (("parameters", at.parameters), ("inputs", at.inputs), ("zeros", at.zeros)):
        for name, value in group.items():
            if has_no_slope(one, name, turns):
                continue
            for place in places(value, layout, name):
                direction = np.zeros(value.shape)
                direction[place] = generator.normal(size=direction[place].shape)
                ahead, behind = slopes(kind, name, direction)
                given = float(np.sum(found[name] * direction))
                if not is_close(given, (ahead + behind) / 2):
                    assert_between(found[name], functools.partial(slopes, kind, name), np.flatnonzero(direction))
                checked += 1
    assert checked > 2 * len(rows)

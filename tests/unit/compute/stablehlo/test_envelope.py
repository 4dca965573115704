"""Envelopes that JAX should not read are refused before it does, quickly, and always as the sender's fault."""

from __future__ import annotations

import time

import flatbuffers
import jax
import jax.export
import numpy as np
import pytest
from jax._src.export import serialization_generated as flat

from gradserve_server.common.errors import Code, Problem, Reason
from gradserve_server.common.specs import Limits
from gradserve_server.compute.frontends.stablehlo import load_network
from gradserve_server.compute.frontends.stablehlo.envelope import check_envelope
from tests.unit.compute.stablehlo.artifacts import product_exported
from tests.unit.compute.stablehlo.envelopes import with_size, with_tree, with_versions


@pytest.fixture(scope="module")
def exported() -> jax.export.Exported:
    return product_exported()


@pytest.fixture(scope="module")
def content(exported: jax.export.Exported) -> bytes:
    return bytes(exported.serialize(vjp_order=1))


def refused(content: bytes) -> Problem:
    with pytest.raises(Problem) as caught:
        check_envelope(content, "network.stablehlo")
    return caught.value


@pytest.mark.parametrize("order", [0, 1, 2, 3])
def test_it_tells_how_many_derivatives_there_are(exported: jax.export.Exported, order: int) -> None:
    assert check_envelope(bytes(exported.serialize(vjp_order=order)), "") == order


def test_bytes_that_are_no_artifact_are_refused(content: bytes) -> None:
    for one in (b"", b"x", bytes(4), bytes(1000), b"\xff" * 1000, content[:100], content[: len(content) // 2]):
        assert refused(one).reason in (Reason.MALFORMED_NETWORK, Reason.INCOMPATIBLE_ARTIFACT)


def test_an_envelope_with_any_byte_changed_is_read_or_refused_but_nothing_else(
    exported: jax.export.Exported, content: bytes
) -> None:
    # Modules are left alone: their own reader can abort the process, which is why it runs in the worker's.
    generator = np.random.default_rng(0)
    modules = [one.mlir_module_serialized for one in (exported, jax.export.deserialize(bytearray(content)).vjp())]
    within = {content.index(one) + place for one in modules for place in range(len(one))}
    places = [place for place in range(len(content)) if place not in within]
    problems = []
    for place in generator.choice(places, 100):
        changed = bytearray(content)
        changed[place] = int(generator.integers(0, 256))
        try:
            load_network(bytes(changed), Limits(), apart=False)
        except Problem as problem:
            problems.append(problem)
    assert len(problems) > 10
    codes = {Code.INVALID_ARGUMENT, Code.UNIMPLEMENTED, Code.RESOURCE_EXHAUSTED}
    assert {problem.reason.code for problem in problems} <= codes


@pytest.mark.parametrize(("format_", "convention"), [(1, 10), (999, 10), (11, 8), (11, 99)])
def test_versions_outside_of_the_window_have_a_reason_of_their_own(format_: int, convention: int) -> None:
    problem = refused(with_versions(format_, convention))
    assert problem.reason is Reason.INCOMPATIBLE_ARTIFACT
    assert problem.metadata["given"] in (str(format_), str(convention))


@pytest.mark.parametrize(
    ("levels", "width", "reason"),
    [(30, 2, Reason.TOO_LARGE), (10_000, 1, Reason.TOO_DEEP), (1, 200_000, Reason.TOO_LARGE)],
)
def test_trees_that_a_few_bytes_describe_and_no_memory_holds_are_refused_at_once(
    levels: int, width: int, reason: Reason
) -> None:
    start = time.perf_counter()
    assert refused(with_tree(levels, width)).reason is reason
    assert time.perf_counter() - start < 5


@pytest.mark.parametrize("size", ["(a+b+c+d)^99", "a^999999", "9" * 40, "a+" * 100 + "a", "((a^2)^9)^9"])
def test_sizes_that_take_for_ever_to_multiply_out_are_refused(size: str) -> None:
    assert refused(with_size(size)).reason is Reason.TOO_LARGE


def test_side_effects_are_refused() -> None:
    builder = flatbuffers.Builder(0)
    text, name = builder.CreateString("<class 'jax._src.debugging.DebugEffect'>"), builder.CreateString("f")
    flat.EffectStart(builder)
    flat.EffectAddTypeName(builder, text)
    effect = flat.EffectEnd(builder)
    flat.ExportedStartUnorderedEffectsVector(builder, 1)
    builder.PrependUOffsetTRelative(effect)
    effects = builder.EndVector()
    flat.PyTreeDefStart(builder)
    tree = flat.PyTreeDefEnd(builder)
    flat.ExportedStart(builder)
    flat.ExportedAddFunctionName(builder, name)
    flat.ExportedAddSerializationVersion(builder, 11)
    flat.ExportedAddCallingConventionVersion(builder, 10)
    flat.ExportedAddInTree(builder, tree)
    flat.ExportedAddOutTree(builder, tree)
    flat.ExportedAddUnorderedEffects(builder, effects)
    builder.Finish(flat.ExportedEnd(builder))
    problem = refused(bytes(builder.Output()))
    assert (problem.reason, problem.metadata["operation"]) == (Reason.UNSUPPORTED_OPERATION, "effects")

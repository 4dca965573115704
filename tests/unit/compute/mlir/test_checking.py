"""Modules that may do what a network must not are refused, whatever the artifact says of itself."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gradserve_server.common.errors import Problem, Reason
from gradserve_server.common.specs import Limits
from gradserve_server.compute.frontends.stablehlo import load_network
from gradserve_server.compute.mlir.checking import checked_module
from gradserve_server.compute.mlir.types import Form
from gradserve_server.compute.network import Context
from tests.unit.compute.stablehlo.artifacts import export, forged, forms, main, portable, text

INPUTS = (Form("float32", (4,)), Form("float32", (None, 4)))
OUTPUTS = (Form("float32", (None, 4)),)


def check(content: bytes, **limits: int) -> bytes:
    return checked_module(content, INPUTS, OUTPUTS, Limits(**limits), "network.stablehlo")


def refused(content: bytes, **limits: int) -> Problem:
    with pytest.raises(Problem) as caught:
        check(content, **limits)
    return caught.value


def call(target: str, attributes: str = "") -> str:
    return f"%0 = stablehlo.custom_call @{target}(%a) {{{attributes}}} : (tensor<4xf32>) -> tensor<4xf32>"


def gives(body: str) -> str:
    """The value that a body's last line makes, with its type."""
    type_ = body.rpartition("-> ")[2] if "->" in body.splitlines()[-1] else body.rpartition(" : ")[2]
    return f"{'%t' if body.endswith('token') else '%0'} : {type_}"


def using(body: str, more: str = "") -> bytes:
    """A module that depends on the last line of `body`."""
    return main(body, more, gives(body))


ALL_GATHER = """%0 = "stablehlo.all_gather"(%a) {all_gather_dim = 0 : i64, replica_groups = dense<0> : tensor<1x1xi64>}
    : (tensor<4xf32>) -> tensor<4xf32>"""
RANDOM = """%l = stablehlo.constant dense<0.0> : tensor<f32>
    %h = stablehlo.constant dense<1.0> : tensor<f32>
    %s = stablehlo.constant dense<4> : tensor<1xi64>
    %0 = stablehlo.rng %l, %h, %s, distribution = UNIFORM
        : (tensor<f32>, tensor<f32>, tensor<1xi64>) -> tensor<4xf32>"""


def test_an_honest_module_is_written_anew_without_where_it_came_from() -> None:
    content = portable(
        """func.func public @main(%a: tensor<4xf32>, %x: tensor<?x4xf32>) -> tensor<?x4xf32> {
             %0 = stablehlo.sine %x : tensor<?x4xf32> loc("/home/someone/secret.py":1:2)
             return %0 : tensor<?x4xf32>
           }"""
    )
    assert b"secret" in content
    assert b"secret" not in check(content)


@pytest.mark.parametrize(
    "body",
    [
        call("xla_ffi_python_cpu_callback"),
        call("xla_python_cpu_callback", "has_side_effect = true"),
        call("something_else"),
        call("Sharding"),
        call("lapack_sgees_ffi"),
        '%0 = stablehlo.composite "my.kernel" %a {decomposition = @other} : (tensor<4xf32>) -> tensor<4xf32>',
        "%t = stablehlo.create_token : !stablehlo.token",
        "%0 = stablehlo.partition_id : tensor<ui32>",
        ALL_GATHER,
        "%0 = stablehlo.tuple %a, %a : tuple<tensor<4xf32>, tensor<4xf32>>",
        RANDOM,
        '%0 = stablehlo.sine %a {mhlo.frontend_attributes = {_xla_compute_type = "host"}} : tensor<4xf32>',
        '%0 = stablehlo.sine %a {mhlo.sharding = "{devices=[2]0,1}"} : tensor<4xf32>',
        "%0 = stablehlo.constant dense<1.0> : tensor<4xf8E4M3FN>",
    ],
)  # fmt: skip
def test_what_is_not_on_the_list_is_refused_by_name(body: str) -> None:
    other = "func.func private @other(%a: tensor<4xf32>) -> tensor<4xf32> { return %a : tensor<4xf32> }"
    problem = refused(using(body, other if "@other" in body else ""))
    assert problem.reason is Reason.UNSUPPORTED_OPERATION, problem
    assert problem.metadata["operation"]
    assert problem.metadata["unsupported"].endswith("in main")


def test_all_that_is_not_supported_is_listed_at_once() -> None:
    body = "\n".join(call(f"kernel_{n}", "has_side_effect = true").replace("%0", f"%k{n}") for n in range(20))
    problem = refused(main(body))
    listed = problem.metadata["unsupported"].split("; ")
    assert listed[0] == "custom call kernel_0 in main"
    assert listed[-1] == "and 8 more"
    assert len(problem.metadata["unsupported"]) < 2000


def test_a_forged_flag_opens_nothing() -> None:
    module = main(call("xla_ffi_python_cpu_callback", "has_side_effect = true"))
    allowed = (jax.export.DisabledSafetyCheck.custom_call("xla_ffi_python_cpu_callback"),)
    for content in (forged(module, disabled_safety_checks=allowed), forged(derivative=module)):
        with pytest.raises(Problem) as caught:
            load_network(content, Limits(), apart=False)
        assert caught.value.reason in (Reason.UNSUPPORTED_OPERATION, Reason.MALFORMED_NETWORK)


def native(target: str, letters: str, operands: str, results: str) -> str:
    """A custom call on ones of these types."""
    types = operands.split()
    ones = "\n".join(
        f"%o{n} = stablehlo.constant dense<{1 if 'i32' in one else 1.0}> : tensor<{one}>" for n, one in enumerate(types)
    )
    given = ", ".join(f"%o{n}" for n in range(len(types)))
    config = ", ".join(f"{one.split('=')[0]} = {ord(one.split('=')[1])} : ui8" for one in letters.split())
    taken, made = (", ".join(f"tensor<{one}>" for one in some.split()) for some in (operands, results))
    return f"""{ones}
        %0:{len(results.split())} = stablehlo.custom_call @{target}({given})
        {{has_side_effect = true, mhlo.backend_config = {{{config}}}}} : ({taken}) -> ({made})"""


SOLVE = "side=L uplo=L trans_x=N diag=N"


@pytest.mark.parametrize(
    "call",
    [
        ("lapack_spotrf_ffi", "uplo=L", "2x2xf32", "2x2xf32 i32"),
        ("lapack_dpotrf_ffi", "uplo=U", "5x2x2xf64", "5x2x2xf64 5xi32"),
        ("lapack_sgetrf_ffi", "", "3x2xf32", "3x2xf32 2xi32 i32"),
        ("lapack_strsm_ffi", SOLVE, "2x2xf32 2x3xf32", "2x3xf32"),
        ("cu_lu_pivots_to_permutation", "", "2xi32", "3xi32"),
    ],
)
def test_native_code_on_the_list_is_taken_in_its_own_form(call: tuple[str, str, str, str]) -> None:
    check(main(native(*call)))


@pytest.mark.parametrize(
    "call",
    [
        # What the native code writes would not fit.
        ("lapack_spotrf_ffi", "uplo=L", "2x2xf32", "1x2xf32 i32"),
        ("lapack_spotrf_ffi", "uplo=L", "5x2x2xf32", "5x2x2xf32 4xi32"),
        ("lapack_sgetrf_ffi", "", "3x2xf32", "3x2xf32 1xi32 i32"),
        # No square; a vector; nothing at all.
        ("lapack_spotrf_ffi", "uplo=L", "1x4xf32", "1x4xf32 i32"),
        ("lapack_spotrf_ffi", "uplo=L", "4xf32", "4xf32 i32"),
        ("lapack_spotrf_ffi", "uplo=L", "f32", "f32 i32"),
        # A triangle that is none, or is left open.
        ("lapack_spotrf_ffi", "uplo=Z", "2x2xf32", "2x2xf32 i32"),
        ("lapack_spotrf_ffi", "", "2x2xf32", "2x2xf32 i32"),
        # Numbers of another type.
        ("lapack_dpotrf_ffi", "uplo=L", "2x2xf32", "2x2xf32 i32"),
        # Too few results; too many operands.
        ("lapack_spotrf_ffi", "uplo=L", "2x2xf32", "2x2xf32"),
        ("lapack_spotrf_ffi", "uplo=L", "2x2xf32 2x2xf32", "2x2xf32 i32"),
        # A matrix on the side where it does not fit.
        ("lapack_strsm_ffi", SOLVE.replace("side=L", "side=R"), "2x2xf32 2x3xf32", "2x3xf32"),
        ("lapack_strsm_ffi", SOLVE, "2x2xf32 3x2x3xf32", "3x2x3xf32"),
        # More pivots than rows.
        ("cu_lu_pivots_to_permutation", "", "4xi32", "2xi32"),
        ("shape_assertion", "", "4xf32", "4xf32"),
    ],
)
def test_native_code_is_not_given_shapes_and_attributes_that_it_cannot_take(call: tuple[str, str, str, str]) -> None:
    problem = refused(main(native(*call)))
    assert problem.reason is Reason.MALFORMED_NETWORK
    assert call[0] in str(problem)


def test_linear_algebra_on_the_list_runs() -> None:
    def function(weights, inputs):
        matrix = weights["a"] @ weights["a"].T + jnp.eye(3, dtype="float32")
        return {"y": jnp.linalg.cholesky(matrix), "z": jnp.linalg.solve(matrix, inputs["x"])}

    content = bytes(export(function, forms({"a": (3, 3)}), forms({"x": (3,)})).serialize(vjp_order=1))
    network = load_network(content, Limits(), apart=False)
    a, x = np.random.default_rng(0).normal(size=(3, 3)).astype("f4"), np.ones(3, "f4")

    def total(a):
        return sum(map(jnp.sum, network.apply({"a": a}, {}, {"x": x}, Context(jnp.float32)).values()))

    expected = jax.jit(jax.grad(lambda a: sum(map(jnp.sum, function({"a": a}, {"x": x}).values()))))(a)
    np.testing.assert_allclose(jax.jit(jax.grad(total))(a), expected, rtol=1e-5, atol=1e-6)


def test_a_batch_of_any_size_does_not_go_into_native_code() -> None:
    def function(weights, inputs):
        return {"y": jnp.linalg.cholesky(inputs["x"] * weights["a"])}

    exported = export(function, forms({"a": (1, 1, 1)}), forms({"x": ("batch", 3, 3)}))
    with pytest.raises(Problem) as caught:
        load_network(bytes(exported.serialize(vjp_order=1)), Limits(), apart=False)
    assert "a size that the batch decides" in caught.value.metadata["unsupported"]


def doubling(levels: int) -> bytes:
    functions = [
        f"func.func private @f{level}(%a: tensor<4xf32>) -> tensor<4xf32> {{\n"
        f"%0 = call @f{level - 1}(%a) : (tensor<4xf32>) -> tensor<4xf32>\n"
        f"%1 = call @f{level - 1}(%0) : (tensor<4xf32>) -> tensor<4xf32>\nreturn %1 : tensor<4xf32> }}"
        for level in range(1, levels)
    ]
    first = "func.func private @f0(%a: tensor<4xf32>) -> tensor<4xf32> { return %a : tensor<4xf32> }"
    return main(f"%0 = call @f{levels - 1}(%a) : (tensor<4xf32>) -> tensor<4xf32>", "\n".join([first, *functions]))


def test_calls_are_counted_without_being_expanded() -> None:
    check(doubling(10))
    assert refused(doubling(22)).reason is Reason.TOO_LARGE
    assert refused(doubling(200)).reason is Reason.TOO_LARGE


def test_functions_that_call_themselves_are_refused() -> None:
    first = """func.func private @f(%a: tensor<4xf32>) -> tensor<4xf32> {
        %0 = call @g(%a) : (tensor<4xf32>) -> tensor<4xf32>
        return %0 : tensor<4xf32>
    }\n"""
    second = first.replace("@g", "@h").replace("@f", "@g").replace("@h", "@f")
    problem = refused(main("%0 = call @f(%a) : (tensor<4xf32>) -> tensor<4xf32>", first + second))
    assert (problem.reason, "calls itself" in str(problem)) == (Reason.INVALID_NETWORK, True)


def test_sizes_are_bounded_before_anything_is_compiled() -> None:
    chained = "\n".join(f"%v{n + 1} = stablehlo.sine %v{n} : tensor<4xf32>" for n in range(10))
    chained = chained.replace("%v0 ", "%a ").replace("%v10 ", "%0 ")
    assert refused(using(chained), nodes=10).reason is Reason.TOO_LARGE
    huge = "%0 = stablehlo.broadcast_in_dim %a, dims = [1] : (tensor<4xf32>) -> tensor<1000000000000x4xf32>"
    assert refused(using(huge)).reason is Reason.TOO_LARGE
    constant = "%0 = stablehlo.constant dense<2.0> : tensor<300000x256xf32>"
    assert "constants" in str(refused(using(constant)))


def test_nesting_is_bounded() -> None:
    body = "%s = stablehlo.sine %a : tensor<4xf32>\nstablehlo.return %s : tensor<4xf32>"
    for level in range(80):
        body = (
            f'%r{level} = "stablehlo.case"(%i) ({{ {body} }}) : (tensor<i32>) -> tensor<4xf32>\n'
            f"stablehlo.return %r{level} : tensor<4xf32>"
        )
    index = "%n = stablehlo.convert %a : (tensor<4xf32>) -> tensor<4xi32>\n%i = stablehlo.reduce(%n init: %z) applies "
    index = f"%z = stablehlo.constant dense<0> : tensor<i32>\n{index}stablehlo.add across dimensions = [0] : "
    index += "(tensor<4xi32>, tensor<i32>) -> tensor<i32>\n"
    content = main(index + body.rsplit("\n", 1)[0], gives="%r79 : tensor<4xf32>")
    assert refused(content).reason is Reason.TOO_DEEP


def test_locations_that_would_fill_the_memory_once_written_out_are_never_written_out() -> None:
    locations = "".join(f"#l{n + 1} = loc(callsite(#l{n} at #l{n}))\n" for n in range(60))
    written = text("%0 = stablehlo.sine %x : tensor<?x4xf32> loc(#l60)", gives="%0 : tensor<?x4xf32>")
    written = f"{written}\n#l0 = loc(unknown)\n{locations}"
    check(portable(written))
    unknown = written.replace(
        "stablehlo.sine %x : tensor<?x4xf32>", "stablehlo.custom_call @k(%x) : (tensor<?x4xf32>) -> tensor<?x4xf32>"
    )
    assert refused(portable(unknown)).metadata["operation"] == "custom call k"


@pytest.mark.parametrize(
    "written",
    [
        "func.func public @other() { return }",
        "func.func public @main(%a: tensor<4xf32>) -> tensor<4xf32> { return %a : tensor<4xf32> }",
        text().replace("%a: tensor<4xf32>", "%a: tensor<4xf64>"),
        text().replace("?x4", "3x4"),
        "func.func private @main(%a: tensor<4xf32>, %x: tensor<?x4xf32>) -> tensor<?x4xf32>",
    ],
)
def test_a_main_function_of_another_form_than_the_artifact_says_is_refused(written: str) -> None:
    assert refused(portable(written)).reason is Reason.MALFORMED_NETWORK


def test_bytes_that_are_no_module_are_refused_and_text_is_not_even_read() -> None:
    good = main("")
    for content in (b"", b"garbage", good[:40], good[:-20], text("").encode(), b"ML\xefR" + bytes(100)):
        assert refused(content).reason is Reason.MALFORMED_NETWORK


@pytest.mark.parametrize("version", [b"9.15.0", b"0.1.000"])
def test_a_module_of_another_time_is_told_from_a_broken_one(version: bytes) -> None:
    current = main("")
    (written,) = [part for part in current.split(b"\x00") if b"StableHLO_v" in part]
    number = written.split(b"_v")[1]
    assert len(version) <= len(number) + 1
    content = current.replace(
        b"StableHLO_v" + number + b"\x00", b"StableHLO_v" + version.ljust(len(number), b"0") + b"\x00"
    )
    problem = refused(content)
    assert problem.reason is Reason.INCOMPATIBLE_ARTIFACT
    assert "version of JAX" in problem.metadata["hint"]

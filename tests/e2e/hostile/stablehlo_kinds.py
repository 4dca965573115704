"""Artifacts of jax.export that are malformed or forged, or that would do what a network must not."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.export
import numpy as np

from gradserve.v1 import network_pb2
from tests.e2e.hostile.kinds import BAD, NOT_SERVED, TOO_MUCH, Kind
from tests.unit.compute.stablehlo.artifacts import export, forged, forms, main, portable, product_exported
from tests.unit.compute.stablehlo.envelopes import with_size, with_tree, with_versions

FIELD = "network.stablehlo"
UNSUPPORTED, MALFORMED = "UNSUPPORTED_OPERATION", "MALFORMED_NETWORK"


def kind(name: str, content: Callable[[], bytes], reason: str, words: str, code: str = BAD) -> Kind:
    return Kind(name, lambda: network_pb2.NetworkDefinition(stablehlo=content()), reason, words, code, FIELD)


@functools.cache
def honest(order: int = 1) -> bytes:
    return bytes(product_exported().serialize(vjp_order=order))


def exported(function: Callable[[Any, Any], Any], x: str = "float32") -> bytes:
    content = export(function, forms({"a": (4,)}), forms({"x": ("batch", 4)}, x)).serialize(vjp_order=1)
    return bytes(content)


def inside(body: str, more: str = "") -> Callable[[], bytes]:
    """An artifact whose function computes `%0`, of the form of its result, by `body`."""
    return lambda: forged(main(body, more, "%0 : tensor<?x4xf32>"))


def in_derivative(body: str) -> bytes:
    """An artifact that is honest but for its derivative."""
    written = f"""func.func public @main(%a: tensor<4xf32>, %x: tensor<?x4xf32>, %y: tensor<?x4xf32>)
        -> (tensor<4xf32>, tensor<?x4xf32>) {{
        {body}
        return %a, %0 : tensor<4xf32>, tensor<?x4xf32>
    }}"""
    return forged(derivative=portable(written))


def target(name: str) -> str:
    return f"%0 = stablehlo.custom_call @{name}(%x) {{has_side_effect = true}} : (tensor<?x4xf32>) -> tensor<?x4xf32>"


def allowing(name: str) -> bytes:
    """An artifact that says of itself that a custom call in it is safe."""
    checks = (jax.export.DisabledSafetyCheck.custom_call(name),)
    return forged(main(target(name), gives="%0 : tensor<?x4xf32>"), disabled_safety_checks=checks)


def doubling(levels: int, last: str = "") -> Callable[[], bytes]:
    """Functions that each call the one before twice."""
    type_ = "(tensor<?x4xf32>) -> tensor<?x4xf32>"
    body = f"%0 = call @{last}(%a) : {type_}\nreturn %0" if last else "return %a"
    functions = [f"func.func private @f0(%a: tensor<?x4xf32>) -> tensor<?x4xf32> {{ {body} : tensor<?x4xf32> }}"]
    functions += [
        f"func.func private @f{level}(%a: tensor<?x4xf32>) -> tensor<?x4xf32> {{\n%0 = call @f{level - 1}(%a) : {type_}\n"
        f"%1 = call @f{level - 1}(%0) : {type_}\nreturn %1 : tensor<?x4xf32> }}"
        for level in range(1, levels)
    ]
    return inside(f"%0 = call @f{levels - 1}(%x) : {type_}", "\n".join(functions))


def chained(count: int) -> bytes:
    lines = [f"%v{number + 1} = stablehlo.sine %v{number} : tensor<?x4xf32>" for number in range(count)]
    body = "\n".join(lines).replace("%v0 ", "%x ").replace(f"%v{count} ", "%0 ")
    return forged(main(body, gives="%0 : tensor<?x4xf32>"))


def nested(depth: int) -> bytes:
    """Branches in branches."""
    inner = "stablehlo.return %x : tensor<?x4xf32>"
    for level in range(depth):
        inner = (
            f'%r{level} = "stablehlo.case"(%i) ({{ {inner} }}) : (tensor<i32>) -> tensor<?x4xf32>\n'
            f"stablehlo.return %r{level} : tensor<?x4xf32>"
        )
    body = f"%i = stablehlo.constant dense<0> : tensor<i32>\n{inner.rpartition(chr(10))[0]}"
    return forged(main(body, gives=f"%r{depth - 1} : tensor<?x4xf32>"))


def flipped(place: int, value: int) -> bytes:
    """A module with one byte changed, which crashes MLIR's reader or keeps it busy."""
    content = bytearray(
        portable(
            """func.func public @main(%a: tensor<4xf32>, %x: tensor<?x4xf32>) -> tensor<4xf32> {
    %0 = stablehlo.constant dense<[1.0, 2.0, 3.0, 4.0]> : tensor<4xf32>
    return %0 : tensor<4xf32>
}"""
        )
    )
    content[place] = value
    return forged(bytes(content))


def aged(version: bytes) -> bytes:
    """A module that says that it is of another version of StableHLO."""
    current = main()
    (said,) = [part for part in current.split(b"\x00") if b"StableHLO_v" in part]
    number = said.split(b"_v")[1]
    return forged(
        current.replace(b"StableHLO_v" + number + b"\x00", b"StableHLO_v" + version.ljust(len(number), b"0") + b"\x00")
    )


HUGE = """%b = stablehlo.broadcast_in_dim %a, dims = [1] : (tensor<4xf32>) -> tensor<1000000000000x4xf32>
    %z = stablehlo.constant dense<0.0> : tensor<f32>
    %s = stablehlo.reduce(%b init: %z) applies stablehlo.add across dimensions = [0, 1] :
        (tensor<1000000000000x4xf32>, tensor<f32>) -> tensor<f32>
    %n = stablehlo.get_dimension_size %x, dim = 0 : (tensor<?x4xf32>) -> tensor<i32>
    %o = stablehlo.reshape %n : (tensor<i32>) -> tensor<1xi32>
    %f = stablehlo.constant dense<4> : tensor<1xi32>
    %d = stablehlo.concatenate %o, %f, dim = 0 : (tensor<1xi32>, tensor<1xi32>) -> tensor<2xi32>
    %0 = stablehlo.dynamic_broadcast_in_dim %s, %d, dims = [] : (tensor<f32>, tensor<2xi32>) -> tensor<?x4xf32>"""
CONSTANT = HUGE.replace(
    "stablehlo.broadcast_in_dim %a, dims = [1] : (tensor<4xf32>) ->", "stablehlo.constant dense<2.0> :"
).replace("1000000000000x4", "300000x256")

KINDS = (
    kind("no bytes", lambda: b"", MALFORMED, "jax.export"),
    kind("noise", lambda: np.random.default_rng(0).bytes(1000), MALFORMED, "jax.export"),
    kind("an artifact cut short", lambda: honest()[: len(honest()) // 2], MALFORMED, ""),
    kind("a tree in 10,000 others", lambda: with_tree(10_000, 1), "TOO_DEEP", "too deep"),
    kind("a tree that doubles", lambda: with_tree(30, 2), "TOO_LARGE", "signature", TOO_MUCH),
    kind("a size to multiply out", lambda: with_size("((a^2)^9)^9"), "TOO_LARGE", "expression", TOO_MUCH),
    kind("a format of the past", lambda: with_versions(1, 10), "INCOMPATIBLE_ARTIFACT", "format", NOT_SERVED),
    kind("a format to come", lambda: with_versions(999, 10), "INCOMPATIBLE_ARTIFACT", "format", NOT_SERVED),
    kind("a convention to come", lambda: with_versions(11, 99), "INCOMPATIBLE_ARTIFACT", "convention", NOT_SERVED),
    kind("a module of the past", lambda: aged(b"0.1.000"), "INCOMPATIBLE_ARTIFACT", "StableHLO", NOT_SERVED),
    kind("a module to come", lambda: aged(b"9.15.0"), "INCOMPATIBLE_ARTIFACT", "StableHLO", NOT_SERVED),
    kind("no derivative", lambda: honest(0), "UNSUPPORTED_BY_NETWORK", "vjp_order", NOT_SERVED),
    kind("a module that is none", lambda: forged(b"garbage"), MALFORMED, "StableHLO module"),
    kind("a module cut short", lambda: forged(main()[:-20]), MALFORMED, "StableHLO module"),
    kind("a module as text", lambda: forged(b"module {}"), MALFORMED, "StableHLO module"),
    kind("a byte that crashes its reader", lambda: flipped(40, 7), MALFORMED, ""),
    kind("a byte that crashes its reader elsewhere", lambda: flipped(93, 29), MALFORMED, ""),
    kind("no main function", lambda: forged(portable("func.func public @other() { return }")), MALFORMED, "main"),
    kind("a main function of another form", lambda: forged(portable(
        "func.func public @main(%a: tensor<4xf32>) -> tensor<4xf32> { return %a : tensor<4xf32> }")), MALFORMED, "main"),
    kind("a derivative of another function", lambda: forged(_get_vjp=lambda _: product_exported()), MALFORMED, "derivative"),
    kind("a callback said to be safe", lambda: allowing("xla_ffi_python_cpu_callback"), UNSUPPORTED, "xla_ffi_python_cpu_callback", NOT_SERVED),
    kind("a callback in the derivative", lambda: in_derivative(target("xla_python_cpu_callback")), UNSUPPORTED, "xla_python_cpu_callback", NOT_SERVED),
    kind("a kernel of one's own", inside(target("my_kernel")), UNSUPPORTED, "my_kernel", NOT_SERVED),
    kind("a library's kernel", inside(target("lapack_sgees_ffi")), UNSUPPORTED, "lapack_sgees_ffi", NOT_SERVED),
    kind("a composite of one's own", inside(
        '%0 = stablehlo.composite "my.kernel" %x {decomposition = @f} : (tensor<?x4xf32>) -> tensor<?x4xf32>',
        "func.func private @f(%a: tensor<?x4xf32>) -> tensor<?x4xf32> { return %a : tensor<?x4xf32> }"), UNSUPPORTED, "my.kernel", NOT_SERVED),
    kind("work for the host", inside(
        '%0 = stablehlo.sine %x {mhlo.frontend_attributes = {_xla_compute_type = "host"}} : tensor<?x4xf32>'), UNSUPPORTED, "frontend_attributes", NOT_SERVED),
    kind("a talk with other devices", inside("""%0 = "stablehlo.collective_permute"(%x)
        {source_target_pairs = dense<0> : tensor<1x2xi64>} : (tensor<?x4xf32>) -> tensor<?x4xf32>"""), UNSUPPORTED, "collective_permute", NOT_SERVED),
    kind("a feed from outside", inside("""%t = stablehlo.create_token : !stablehlo.token
        %f:2 = "stablehlo.infeed"(%t) {infeed_config = "x"} : (!stablehlo.token) -> (tensor<4xf32>, !stablehlo.token)
        %0 = stablehlo.sine %x : tensor<?x4xf32>"""), UNSUPPORTED, "create_token", NOT_SERVED),
    kind("a function that calls itself", doubling(1, "f0"), "INVALID_NETWORK", "calls itself"),
    kind("functions in a circle", doubling(30, "f29"), "INVALID_NETWORK", "calls itself"),
    kind("22 functions that double", doubling(22), "TOO_LARGE", "too many operations", TOO_MUCH),
    kind("10,000 operations in a chain", lambda: chained(10_000), "TOO_LARGE", "too many operations", TOO_MUCH),
    kind("branches in 100 others", lambda: nested(100), "TOO_DEEP", "too deeply"),
    kind("branches in 500 others", lambda: nested(500), "TOO_DEEP", "too deeply"),
    kind("a tensor of terabytes", inside(HUGE), "TOO_LARGE", "too large", TOO_MUCH),
    kind("a constant of 300 MB in a few bytes", inside(CONSTANT), "TOO_LARGE", "constants", TOO_MUCH),
    kind("a function for other machines", lambda: bytes(product_exported(("tpu",)).serialize(vjp_order=1)), UNSUPPORTED, "machines", NOT_SERVED),
    kind("no dictionaries", lambda: bytes(export(lambda w, i: {"y": w * i}, forms({"a": ()})["a"], forms({"a": ()})["a"]).serialize(vjp_order=1)), "INVALID_NETWORK", "two dictionaries"),
    kind("complex inputs", lambda: exported(lambda w, i: {"y": i["x"].real * w["a"][None]}, "complex64"), UNSUPPORTED, "travel", NOT_SERVED),
    kind("17 MB of name", lambda: exported(lambda w, i: {"y" * (17 << 20): i["x"] * w["a"][None]}), "TOO_LARGE", "", TOO_MUCH),
)  # fmt: skip

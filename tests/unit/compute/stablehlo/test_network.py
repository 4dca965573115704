"""What a function of JAX is as a network: names, forms, values, gradients, and what it cannot have."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gradserve_server.common.errors import Problem, Reason
from gradserve_server.common.specs import Limits
from gradserve_server.compute.frontends.stablehlo import StableHloNetwork, load_network
from gradserve_server.compute.network import Capability, Context
from tests.unit.compute.stablehlo.artifacts import export, forms, product_exported

GENERATOR = np.random.default_rng(0)


def load(exported: jax.export.Exported, order: int = 1) -> StableHloNetwork:
    return load_network(bytes(exported.serialize(vjp_order=order)), Limits(), apart=False)


def refused(content: bytes, **limits: int) -> Problem:
    with pytest.raises(Problem) as caught:
        load_network(content, Limits(**limits), apart=False)
    assert caught.value.metadata["field"] == "network.stablehlo"
    return caught.value


def layers(weights: dict[str, Any], inputs: dict[str, Any]) -> dict[str, Any]:
    hidden = jnp.tanh(inputs["x"] @ weights["hidden"]["kernel"] + weights["hidden"]["bias"][None])
    return {"hidden": hidden, "out": {"first": hidden @ weights["heads"][0], "size": jnp.int32(3)}}


LAYERS = {
    "hidden": forms({"kernel": (3, 4), "bias": (4,)}),
    "heads": [jax.ShapeDtypeStruct((4, 2), "float32")],
}


def test_names_are_paths_and_sizes_may_be_left_to_the_batch() -> None:
    network = load(export(layers, LAYERS, forms({"x": ("rows", 3)})))
    assert [(one.name, one.dtype, one.shape) for one in network.inputs] == [("x", "float32", ("rows", 3))]
    assert network.outputs == ("hidden", "out/first", "out/size")
    found = network.signature(network.symbolic_inputs(), jnp.float32)
    shapes = {name: one.shape for name, one in found.parameters.items()}
    assert shapes == {"heads/0": (4, 2), "hidden/bias": (4,), "hidden/kernel": (3, 4)}
    assert str(found.outputs["out/first"].shape) == "(rows, 2)"
    assert found.outputs["out/size"].dtype == jnp.int32


@pytest.mark.parametrize("platforms", [("cpu",), ("cpu", "cuda")])
@pytest.mark.parametrize("rows", ["rows", 5])
def test_outputs_and_gradients_are_those_of_the_function(platforms: tuple[str, ...], rows: Any) -> None:
    network = load(export(layers, LAYERS, forms({"x": (rows, 3)}), platforms))
    flat = {"hidden/kernel": (3, 4), "hidden/bias": (4,), "heads/0": (4, 2)}
    weights = {name: GENERATOR.normal(size=shape).astype("float32") for name, shape in flat.items()}
    x = GENERATOR.normal(size=(5, 3)).astype("float32")

    def served(weights: Any, x: Any) -> Any:
        outputs = network.apply(weights, {}, {"x": x}, Context(jnp.float32))
        return jnp.sum(outputs["out/first"] ** 2), outputs

    def local(weights: Any, x: Any) -> Any:
        tree = {"hidden": {"kernel": weights["hidden/kernel"], "bias": weights["hidden/bias"]},
                "heads": [weights["heads/0"]]}  # fmt: skip
        outputs = layers(tree, {"x": x})
        return jnp.sum(outputs["out"]["first"] ** 2), {
            "hidden": outputs["hidden"],
            "out/first": outputs["out"]["first"],
        }

    (loss, outputs), gradients = jax.jit(jax.value_and_grad(served, has_aux=True, argnums=(0, 1)))(weights, x)
    (expected, values), wanted = jax.jit(jax.value_and_grad(local, has_aux=True, argnums=(0, 1)))(weights, x)
    assert loss == expected
    assert outputs["out/size"] == 3
    for name, value in values.items():
        np.testing.assert_array_equal(outputs[name], value)
    jax.tree.map(np.testing.assert_array_equal, gradients, wanted)


def test_an_artifact_in_64_bits_computes_in_64_and_one_in_32_takes_no_others() -> None:
    double = load(export(layers, jax.tree.map(lambda one: one.update(dtype="float64"), LAYERS),
                         forms({"x": ("rows", 3)}, "float64")))  # fmt: skip
    assert double.own_types == {"float64"}
    found = double.signature(double.symbolic_inputs(), jnp.float64)
    assert found.outputs["hidden"].dtype == jnp.float64
    single = load(product_exported())
    assert not single.own_types
    with pytest.raises(Problem) as caught:
        single.signature(single.symbolic_inputs(), jnp.float64)
    assert caught.value.reason is Reason.DTYPE_MISMATCH


def test_16_bits_inside_leave_gradients_in_32() -> None:
    network = load(export(lambda w, i: {"y": i["x"] * w["a"]}, forms({"a": (4,)}, "bfloat16"),
                          forms({"x": (4,)}, "bfloat16")))  # fmt: skip
    x = jnp.arange(4, dtype=jnp.bfloat16)

    def loss(weights: Any) -> jax.Array:
        output = network.apply(weights, {}, {"x": x}, Context(jnp.float32))["y"]
        assert output.dtype == jnp.float32
        return jnp.sum(output)

    gradient = jax.jit(jax.grad(loss))({"a": np.ones(4, "float32")})["a"]
    assert gradient.dtype == jnp.float32
    np.testing.assert_array_equal(gradient, [0, 1, 2, 3])


def test_it_cannot_have_what_takes_nodes_forward_mode_or_vectorization() -> None:
    once, twice = load(product_exported()), load(product_exported(), order=2)
    assert set(once.limitations) == set(Capability)
    assert set(once.limitations) - set(twice.limitations) == {Capability.SECOND_DERIVATIVES}
    with pytest.raises(Problem) as caught:
        once.require(Capability.SECOND_DERIVATIVES)
    assert "vjp_order=2" in str(caught.value)


def test_second_derivatives_are_right_where_the_artifact_brings_them() -> None:
    network = load(export(lambda w, i: {"y": jnp.sin(i["x"] * w["a"])}, forms({"a": ()}), forms({"x": ()})), order=2)

    def output(a: Any) -> jax.Array:
        return network.apply({"a": a}, {}, {"x": jnp.float32(2.0)}, Context(jnp.float32))["y"]

    second = jax.jit(jax.grad(jax.grad(output)))(jnp.float32(0.3))
    np.testing.assert_allclose(second, -4 * np.sin(0.6), rtol=1e-6)


def test_without_a_derivative_it_says_how_to_export_one() -> None:
    problem = refused(bytes(product_exported().serialize(vjp_order=0)))
    assert problem.reason is Reason.UNSUPPORTED_BY_NETWORK
    assert "vjp_order=1" in problem.metadata["hint"]


@pytest.mark.parametrize(
    ("function", "weights", "inputs", "said"),
    [
        (lambda w, i: i["x"] * w["a"], forms({"a": ()}), forms({"x": ()}), "outputs by name"),
        (lambda w, i: {}, forms({"a": ()}), forms({"x": ()}), "outputs by name"),
        (lambda w, i: {"y": i * w["a"]}, forms({"a": ()}), forms({"x": ()})["x"], "two dictionaries"),
        (
            lambda w, i: {"y": i["x"] * w["a"].astype("f4")},
            forms({"a": ()}, "int32"),
            forms({"x": ()}),
            "no floating-point",
        ),
        (lambda w, i: {"y": i["x"] * w["a"]}, forms({"a": ("n",)}), forms({"x": ()}), "left open"),
        (lambda w, i: {"y": i["x"] * w[""]}, forms({"": ()}), forms({"x": ()}), "no name of its own"),
        (
            lambda w, i: {"y": w["a/b"] * w["a"]["b"]},
            {"a/b": forms({"b": ()})["b"], "a": forms({"b": ()})},
            forms({"x": ()}),
            "no name of its own",
        ),
        (lambda w, i: {"y": i["x"].real * w["a"]}, forms({"a": ()}), forms({"x": ()}, "complex64"), "does not travel"),
        (lambda w, i: {"y": i["x"] * w["a"]}, forms({"a": ()}), forms({"x": ("2*n",)}), "numbers or names"),
    ],
)
def test_a_function_of_another_form_is_refused_with_what_it_should_be(
    function: Any, weights: Any, inputs: Any, said: str
) -> None:
    exported = export(function, weights, inputs)
    assert said in str(refused(bytes(exported.serialize(vjp_order=1))))


def test_a_function_for_other_machines_is_refused() -> None:
    problem = refused(bytes(product_exported(("tpu",)).serialize(vjp_order=1)))
    assert (problem.reason, problem.metadata["given"]) == (Reason.UNSUPPORTED_OPERATION, "tpu")


def test_sizes_that_the_exporter_ruled_out_are_refused() -> None:
    scope = jax.export.SymbolicScope(["rows >= 4"])
    network = load(export(layers, LAYERS, forms({"x": ("rows", 3)}, scope=scope)))
    found = network.signature(network.symbolic_inputs(), jnp.float32)
    weights = {name: np.ones(one.shape, "float32") for name, one in found.parameters.items()}
    lowered = jax.jit(lambda x: network.apply(weights, {}, {"x": x}, Context(jnp.float32))).lower(
        np.ones((2, 3), "float32")
    )
    with pytest.raises(ValueError, match="refin") as caught:
        lowered.compile()
    problem = network.explain(caught.value)
    assert problem.reason is Reason.INVALID_NETWORK

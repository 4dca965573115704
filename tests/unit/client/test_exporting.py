"""Functions of JAX as networks, before anything is sent."""

import pickle
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradserve as gs

WEIGHTS = {"dense": {"kernel": np.ones((3, 2), "float32")}, "heads": [np.ones(2, "float32")]}


def function(weights, inputs):
    hidden = inputs["x"] @ weights["dense"]["kernel"]
    return {"hidden": hidden, "out": (hidden @ weights["heads"][0], jnp.sum(inputs["n"]))}


INPUTS = {"x": ("batch", 3), "n": np.ones(4, "int32")}


def test_inputs_and_outputs_are_known_and_the_bytes_are_jax_s_own():
    network = gs.from_jax(function, WEIGHTS, INPUTS)
    assert network.format == "stablehlo"
    assert [str(one) for one in network.inputs] == ["x: float32[batch, 3]", "n: int32[4]"]
    assert network.outputs == ("hidden", "out/0", "out/1")
    assert repr(network) == "Network(x: float32[batch, 3], n: int32[4] -> hidden, out/0, out/1)"
    exported = jax.export.deserialize(bytearray(network.to_bytes()))
    assert exported.platforms == ("cpu", "cuda")
    assert exported.vjp().in_avals
    assert pickle.loads(pickle.dumps(network)) == network


def test_it_can_be_differentiated_as_often_as_asked():
    network = gs.from_jax(lambda w, i: i["x"] * w["a"], {"a": np.float32(1)}, {"x": ()}, platforms=["cpu"], vjp_order=2)
    assert jax.export.deserialize(bytearray(network.to_bytes())).vjp().vjp().in_avals


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (({"a": np.ones(2)}, {"x": (2,)}), "jax_enable_x64"),
        (({"a": np.ones(2, "float32")}, [1]), "arrays by name"),
        (({"a": np.ones(2, "float32")}, {"x": ("batch", 0)}), "no size of an axis"),
        (({"a": np.ones(2, "float32")}, {"x": "batch"}), "no shape of an input"),
    ],
)
def test_arguments_that_make_no_function_are_refused(arguments, said):
    # A server in the same process turns 64 bits on; here they are off, as JAX has them.
    with jax.enable_x64(False), pytest.raises(gs.InvalidRequest, match=said):
        gs.from_jax(lambda w, i: i["x"] * w["a"], *arguments)


def test_a_function_that_has_no_derivative_or_calls_back_is_refused():
    def endless(weights, inputs):
        return jax.lax.while_loop(lambda x: jnp.sum(x) < 9, lambda x: x + weights["a"], inputs["x"])

    def calling(weights, inputs):
        return jax.pure_callback(lambda x: x, jax.ShapeDtypeStruct((2,), "float32"), inputs["x"] * weights["a"])

    for one in (endless, calling):
        with pytest.raises(gs.InvalidRequest, match="cannot be exported"):
            gs.from_jax(one, {"a": np.ones(2, "float32")}, {"x": (2,)}, platforms=["cpu"])


def test_what_the_function_itself_does_wrong_is_raised_as_it_is():
    with pytest.raises(KeyError, match="kernel"):
        gs.from_jax(lambda w, i: w["kernel"], {"a": np.ones(2, "float32")}, {"x": (2,)})


@pytest.mark.parametrize("missing", ["jax", "flatbuffers"])
def test_without_jax_the_error_says_how_to_get_it(missing):
    code = (
        f"import sys; sys.modules[{missing!r}] = None\n"
        "import gradserve as gs\n"
        "try: gs.from_jax(lambda w, i: i['x'], {}, {'x': (2,)}, platforms=['cpu'])\n"
        "except gs.MissingExtra as error: print(error)\n"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'gradserve[jax]'" in out.stdout

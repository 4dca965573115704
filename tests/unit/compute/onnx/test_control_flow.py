"""If, Loop, Scan and functions: rolled where they can be, unrolled where shapes need it, refused where neither goes."""

from __future__ import annotations

import numpy as np
import pytest

from gradserve_server.common.errors import Problem, Reason
from gradserve_server.common.specs import Limits
from tests.unit.compute.onnx.models import forward, gradients, load

ONE = np.float32(1)


def test_if_on_data() -> None:
    body = """(float[N] x, bool c) => (float[N] y) {
        y = If(c) <then_branch = t () => (float[N] a) {a = Mul(x, x)}, else_branch = e () => (float[N] b) {b = Neg(x)}>
    }"""
    x = np.array([1, 2, 3], np.float32)
    assert forward(body, {"x": x, "c": np.array(True)})["y"].tolist() == [1, 4, 9]
    assert forward(body, {"x": x, "c": np.array(False)})["y"].tolist() == [-1, -2, -3]
    assert gradients(body, {"x": x, "c": np.array(True)}, output="y")["x"].tolist() == [2, 4, 6]


def test_if_whose_branches_differ_in_shape_makes_its_condition_static() -> None:
    body = """(float[N] x, bool c) => (float[M] y) <int64[1] one={1}> {
        y = If(c) <then_branch = t () => (float[A] a) {a = Concat <axis = 0> (x, x)},
                   else_branch = e () => (float[B] b) {b = Neg(x)}>
    }"""
    x = np.ones(3, np.float32)
    assert forward(body, {"x": x, "c": np.array(True)})["y"].shape == (6,)
    assert forward(body, {"x": x, "c": np.array(False)})["y"].shape == (3,)


LOOP = """(float[N] x{inputs}) => (float[N] y) <int64 turns={{{turns}}}, bool go={{1}}> {{
    y = Loop({count}, go, x) <body = b (int64 i, bool c, float[N] v) => (bool c2, float[N] w) {{{test} w = Mul(v, v)}}>
}}"""


def test_a_loop_of_known_length_has_gradients() -> None:
    body = LOOP.format(inputs="", turns=3, count="turns", test="c2 = Identity(c)")
    x = np.array([1.1, 0.9], np.float32)
    np.testing.assert_allclose(forward(body, {"x": x})["y"], x**8, rtol=1e-5)
    np.testing.assert_allclose(gradients(body, {"x": x}, output="y")["x"], 8 * x**7, rtol=1e-5)


def test_a_loop_that_the_data_ends_has_gradients_if_its_turns_are_bounded() -> None:
    test = "m = ReduceMax <keepdims = 0> (v) k = Constant <value_float = 10.0> () c2 = Less(m, k)"
    body = LOOP.format(inputs="", turns=100, count="turns", test=test)
    x = np.array([1.5, 1.0], np.float32)  # 1.5, 2.25, 5.06, 25.6 after three squarings; then one more
    np.testing.assert_allclose(forward(body, {"x": x})["y"], x**16, rtol=1e-5)
    np.testing.assert_allclose(gradients(body, {"x": x}, output="y")["x"], 16 * x**15, rtol=1e-4)


def test_a_loop_whose_turns_the_data_counts_runs_but_has_no_gradient() -> None:
    body = LOOP.format(inputs=", int64 n", turns=0, count="n", test="c2 = Identity(c)")
    x = np.array([1.1], np.float32)
    batch = {"x": x, "n": np.array(2)}
    assert load(body).static_inputs == ()
    np.testing.assert_allclose(forward(body, batch)["y"], x**4, rtol=1e-5)
    with pytest.raises(Problem) as caught:
        gradients(body, batch, output="y")
    assert caught.value.reason is Reason.NOT_DIFFERENTIABLE
    assert caught.value.metadata["node"] == "y"


def test_a_loop_that_stacks_needs_its_number_of_turns() -> None:
    body = """(float[N] x, int64 n) => (float[M,N] y) <bool go={1}> {
        z, y = Loop(n, go, x) <body = b (int64 i, bool c, float[N] v) => (bool c2, float[N] w, float[N] s)
            {c2 = Identity(c) w = Add(v, v) s = Identity(w)}>
    }"""
    assert load(body).static_inputs == ("n",)
    found = forward(body, {"x": np.ones(2, np.float32), "n": np.array(3)})["y"]
    np.testing.assert_array_equal(found, [[2, 2], [4, 4], [8, 8]])


def test_a_loop_that_grows_is_unrolled() -> None:
    body = """(float[N] x) => (float[M] y) <int64 turns={3}, bool go={1}> {
        y = Loop(turns, go, x) <body = b (int64 i, bool c, float[K] v) => (bool c2, float[L] w)
            {c2 = Identity(c) w = Concat <axis = 0> (v, x)}>
    }"""
    assert forward(body, {"x": np.ones(2, np.float32)})["y"].shape == (8,)
    np.testing.assert_allclose(gradients(body, {"x": np.ones(2, np.float32)}, output="y")["x"], [4, 4])


def test_unrolling_counts_nodes() -> None:
    body = """(float[N] x) => (float[M] y) <int64 turns={1000}, bool go={1}> {
        y = Loop(turns, go, x) <body = b (int64 i, bool c, float[K] v) => (bool c2, float[L] w)
            {c2 = Identity(c) w = Concat <axis = 0> (v, x)}>
    }"""
    network = load(body, limits=Limits(nodes=500))
    with pytest.raises(Problem, match="unrolled loops") as caught:
        network.signature(network.bound_inputs({"N": 1}), np.float32)
    assert caught.value.reason is Reason.TOO_LARGE


def test_a_scan_has_gradients() -> None:
    body = """(float[T,N] x, float[N] start) => (float[N] last, float[T,N] all) {
        last, all = Scan <num_scan_inputs = 1, body = b (float[N] s, float[N] v) => (float[N] t, float[N] o)
            {t = Mul(s, v) o = Identity(t)}> (start, x)
    }"""
    x = np.array([[2.0], [3.0], [4.0]], np.float32)
    found = forward(body, {"x": x, "start": np.ones(1, np.float32)})
    assert found["last"].tolist() == [24]
    assert found["all"].tolist() == [[2], [6], [24]]
    assert gradients(body, {"x": x, "start": np.ones(1, np.float32)}, output="last")["x"].tolist() == [[12], [8], [6]]


FUNCTION = """(float[N] x) => (float[N] y) {{y = local.twice <factor = 3.0> (x)}}
<domain: "local", opset_import: ["" : 21{more}]> twice <factor> (a) => (b) {{{lines}}}"""


def test_functions_of_the_model_take_attributes() -> None:
    body = FUNCTION.format(more="", lines="f = Constant <value_float: float = @factor> () b = Mul(a, f)")
    assert forward(body, {"x": np.ones(2, np.float32)}, head=', "local" : 1')["y"].tolist() == [3, 3]


def test_a_function_that_calls_itself_is_refused() -> None:
    body = FUNCTION.format(more=', "local" : 1', lines="b = local.twice <factor = 1.0> (a)")
    with pytest.raises(Problem, match="calls itself"):
        load(body, head=', "local" : 1')


def test_doubling_functions_are_counted_and_not_expanded() -> None:
    functions = "".join(
        f'<domain: "l", opset_import: ["" : 21, "l" : 1]> f{n} (a) => (c) {{b = l.f{n - 1}(a) c = l.f{n - 1}(b)}}\n'
        for n in range(1, 60)
    )
    last = '<domain: "l", opset_import: ["" : 21]> f0 (a) => (b) {b = Relu(a)}\n'
    with pytest.raises(Problem, match="too many nodes") as caught:
        load("(float[N] x) => (float[N] y) {y = l.f59(x)}" + last + functions, head=', "l" : 1')
    assert caught.value.reason is Reason.TOO_LARGE

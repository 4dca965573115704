import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gradserve.tensors import to_tensor
from gradserve.v1 import loss_pb2, network_pb2
from gradserve_server.common.errors import Problem, Reason
from gradserve_server.common.specs import Limits
from gradserve_server.compute.losses import Tensors, load_loss
from gradserve_server.compute.network import Context
from gradserve_server.front.losses import read_loss

CROSS_ENTROPY = {"softmax_cross_entropy": {"target": "y"}}
SQUARED = {"squared_error": {"target": "y"}}


def evaluate(formula, prediction, batch, parameters=None, **loss):
    message = loss_pb2.Loss(**formula, **loss)
    context = Context(dtype=jnp.float32)
    outputs = prediction if isinstance(prediction, dict) else {"out": prediction}
    content, vectors = read_loss(message, 1 << 20)
    tensors = Tensors(
        {name: jnp.asarray(one) for name, one in outputs.items()},
        {name: jnp.asarray(one) for name, one in batch.items()},
        parameters or {},
        {name: jnp.asarray(one) for name, one in vectors.items()},
    )
    value = load_loss(content, Limits()).evaluate(tensors, context)
    return value, context.checks


def refused(formula, prediction=None, batch=None, **loss):
    with pytest.raises(Problem) as caught:
        evaluate(formula, np.zeros((4, 3), np.float32) if prediction is None else prediction, batch or {}, **loss)
    return caught.value


def loss_of(formula, prediction, batch, **loss):
    return float(evaluate(formula, np.asarray(prediction, np.float32), batch, **loss)[0].loss)


def floats(*shape):
    return np.ones(shape, np.float32)


def graph(inputs, *nodes, outputs=()):
    return network_pb2.Graph(
        inputs=[{"name": name} for name in inputs],
        nodes=[{"name": name, "inputs": given, **operation} for name, given, operation in nodes],
        outputs=outputs,
    )


SQUARE = {"elementwise": {"function": network_pb2.Elementwise.FUNCTION_SQUARE}}
ADD = {"arithmetic": {"function": network_pb2.Arithmetic.FUNCTION_ADD}}
SUM = {"reduce": {"function": network_pb2.Reduce.FUNCTION_SUM}}


def terms(*names, **more):
    return {"sum": {"terms": [{"name": name, "loss": SQUARED, **more} for name in names]}}


def cotangents(stacked=False, **by_output):
    return {
        "cotangents": {
            "by_output": {name: to_tensor(array, name) for name, array in by_output.items()},
            "stacked": stacked,
        }
    }


@pytest.mark.parametrize(
    ("loss", "reason", "field"),
    [
        ({}, Reason.MISSING_FIELD, "loss"),
        ({"cotangents": {}}, Reason.MISSING_FIELD, "loss.cotangents.by_output"),
        ({**cotangents(out=floats(4, 3)), "reduction": 2}, Reason.INVALID_LOSS, "loss.reduction"),
        ({**cotangents(out=floats(4, 3)), "example_weights": "w"}, Reason.INVALID_LOSS, "loss.example_weights"),
        (cotangents(other=floats(4, 3)), Reason.UNKNOWN_NAME, "loss.cotangents.by_output.other"),
        ({"next_token": {}}, Reason.MISSING_FIELD, "loss.next_token.tokens"),
        ({"squared_error": {}}, Reason.MISSING_FIELD, "loss.squared_error.target"),
        (SQUARED, Reason.MISSING_TENSOR, "batch.y"),
        ({**SQUARED, "example_weights": "w"}, Reason.MISSING_TENSOR, "batch.w"),
        (
            {"squared_error": {"target": "y", "prediction": "other"}},
            Reason.UNKNOWN_NAME,
            "loss.squared_error.prediction",
        ),
        ({**SQUARED, "reduction": 9}, Reason.UNKNOWN_FIELD, "loss.reduction"),
        ({"sum": {}}, Reason.MISSING_FIELD, "loss.sum.terms"),
        (terms("a", ""), Reason.MISSING_FIELD, "loss.sum.terms[1].name"),
        (terms("a", "a"), Reason.DUPLICATE_NAME, "loss.sum.terms[1].name"),
        (terms("a", weight=float("inf")), Reason.INVALID_VALUE, "loss.sum.terms[0].weight"),
        ({**terms("a"), "reduction": 1}, Reason.INVALID_LOSS, "loss.reduction"),
        ({**terms("a"), "example_weights": "w"}, Reason.INVALID_LOSS, "loss.example_weights"),
        ({"sum": {"terms": [{"name": "a", "loss": terms("b")}]}}, Reason.INVALID_LOSS, "loss.sum.terms[0].loss"),
        ({"sum": {"terms": [{"name": "a"}]}}, Reason.MISSING_FIELD, "loss.sum.terms[0].loss"),
        (
            {"sum": {"terms": [{"name": "a", "loss": cotangents(stacked=True, out=floats(1, 4, 3))}]}},
            Reason.INVALID_LOSS,
            "loss.sum.terms[0].loss.cotangents.stacked",
        ),
        (
            {"sum": {"terms": [{"name": "a", "loss": {"squared_error": {}}}]}},
            Reason.MISSING_FIELD,
            "loss.sum.terms[0].loss.squared_error.target",
        ),
    ],
)
def test_a_refusal_names_its_reason_and_its_place(loss, reason, field):
    problem = refused(loss)
    assert problem.reason is reason
    assert problem.metadata["field"] == field


@pytest.mark.parametrize("smoothing", [-0.1, 1.0, float("nan")])
def test_label_smoothing_is_a_part_of_the_mass(smoothing):
    formula = {"softmax_cross_entropy": {"target": "y", "label_smoothing": smoothing}}
    problem = refused(formula, batch={"y": np.zeros(4, np.int32)})
    assert problem.reason is Reason.INVALID_VALUE
    assert problem.metadata["field"] == "loss.softmax_cross_entropy.label_smoothing"


@pytest.mark.parametrize("delta", [-1.0, float("inf"), float("nan")])
def test_the_delta_of_huber_is_a_distance(delta):
    problem = refused({"huber": {"target": "y", "delta": delta}}, batch={"y": floats(4, 3)})
    assert problem.reason is Reason.INVALID_VALUE
    assert problem.metadata["field"] == "loss.huber.delta"


@pytest.mark.parametrize(
    ("prediction", "given", "reason", "expected"),
    [
        (floats(4, 3), floats(4), Reason.SHAPE_MISMATCH, "float32[4, 3]"),
        (floats(4, 3), floats(1, 4, 3), Reason.SHAPE_MISMATCH, "float32[4, 3]"),
        (floats(4, 1), floats(4), Reason.SHAPE_MISMATCH, "float32[4, 1]"),
        (floats(4, 3), np.ones((4, 3), np.int32), Reason.DTYPE_MISMATCH, "float32[4, 3]"),
        (np.ones(4, np.int32), floats(4), Reason.NOT_DIFFERENTIABLE, ""),
    ],
)
def test_a_cotangent_that_does_not_fit_its_output_is_refused(prediction, given, reason, expected):
    problem = refused(cotangents(out=given), prediction=prediction)
    assert problem.reason is reason
    assert problem.metadata["field"] == "loss.cotangents.by_output.out"
    assert problem.metadata.get("expected", "") == expected
    assert ("stacked" in problem.metadata.get("hint", "")) == (given.shape[1:] == prediction.shape)


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"a": floats(4), "b": floats(2, 4)}, "a"),
        ({"a": floats(), "b": floats(2, 4)}, "a"),
        ({"a": floats(0, 4), "b": floats(0, 4)}, "a"),
        ({"a": floats(2, 4), "b": floats(3, 4)}, "b"),
    ],
)
def test_stacked_cotangents_that_are_no_stacks_are_refused(given, field):
    problem = refused(cotangents(stacked=True, **given), prediction={"a": floats(4), "b": floats(4)})
    assert problem.reason is Reason.SHAPE_MISMATCH
    assert problem.metadata["field"] == f"loss.cotangents.by_output.{field}"


def test_the_product_with_cotangents_leaves_out_what_has_a_cotangent_of_0():
    outputs = {"a": np.float32([1, np.inf, np.nan]), "b": np.float32([[2]]), "c": np.float32([np.nan])}
    given = {"a": np.float64([3, 0, 0]), "b": np.float16([[-1]])}
    assert float(evaluate(cotangents(**given), outputs, {})[0].loss) == 1
    stacked = {"a": np.float32([[3, 0, 0], [2, 0, 0]]), "b": np.float32([[[-1]], [[4]]])}
    value = evaluate(cotangents(stacked=True, **stacked), outputs, {})[0]
    assert float(value.loss) == 1 + 10
    assert value.loss.shape == ()


NEXT_TOKEN = {"next_token": {"tokens": "y"}}


@pytest.mark.parametrize(
    ("prediction", "tokens", "weights", "reason", "field", "expected"),
    [
        (floats(2, 3), np.ones((2, 3), np.int32), None, Reason.SHAPE_MISMATCH, "loss.next_token.prediction", "[batch"),
        (floats(2, 3), np.ones(2, np.int32), floats(2), Reason.SHAPE_MISMATCH, "loss.next_token.prediction", "[batch"),
        (floats(2, 1, 5), np.ones((2, 1), np.int32), None, Reason.SHAPE_MISMATCH, "loss.next_token.prediction", "2"),
        (floats(2, 3, 5), np.ones((2, 2), np.int32), None, Reason.SHAPE_MISMATCH, "batch.y", "int32[2, 3]"),
        (floats(2, 3, 5), np.ones((2, 3, 1), np.int32), None, Reason.SHAPE_MISMATCH, "batch.y", "int32[2, 3]"),
        (floats(2, 3, 5), floats(2, 3), None, Reason.DTYPE_MISMATCH, "batch.y", "int32[2, 3]"),
        (floats(2, 3, 5), np.ones((2, 3), np.int32), floats(2, 2), Reason.SHAPE_MISMATCH, "batch.w", "[2, 3]"),
    ],
)
def test_tokens_that_do_not_fit_their_logits_are_refused(prediction, tokens, weights, reason, field, expected):
    batch = {"y": tokens} if weights is None else {"y": tokens, "w": weights}
    loss = {} if weights is None else {"example_weights": "w"}
    problem = refused(NEXT_TOKEN, prediction=prediction, batch=batch, **loss)
    assert problem.reason is reason
    assert problem.metadata["field"] == field
    assert expected in problem.metadata["expected"]


def test_the_first_token_is_not_predicted_and_may_be_anything():
    logits = np.float32([[[0, 0], [0, 0]], [[9, 0], [0, 0]]])
    value, (check,) = evaluate(NEXT_TOKEN, logits, {"y": np.int32([[7, 1], [-1, 0]])})
    assert not bool(check.failed)
    assert float(value.loss) == pytest.approx((np.log(2) + np.log1p(np.exp(-9))) / 2)
    assert float(value.weight_sum) == 2
    _, (check,) = evaluate(NEXT_TOKEN, logits, {"y": np.int32([[0, 7], [0, 0]])})
    assert bool(check.failed)


def test_a_divergence_is_finite_where_a_class_has_no_probability():
    def loss(prediction, target):
        return evaluate({"kullback_leibler": {"target": "y"}}, prediction, {"y": target})[0].loss

    log_prediction, target = jnp.log(jnp.float32([[0.5, 0.5, 0.0]])), jnp.float32([[0.25, 0.75, 0.0]])
    value, slopes = jax.value_and_grad(loss, (0, 1))(log_prediction, target)
    assert float(value) == pytest.approx(0.25 * np.log(0.5) + 0.75 * np.log(1.5))
    np.testing.assert_allclose(slopes[0], -target)
    np.testing.assert_allclose(slopes[1], [[np.log(0.5) + 1, np.log(1.5) + 1, 0]], rtol=1e-6)
    assert float(loss(log_prediction, jnp.float32([[0, 0.5, 0.5]]))) == np.inf


@pytest.mark.parametrize(
    ("formula", "target", "reason", "expected"),
    [
        (SQUARED, floats(4, 1), Reason.SHAPE_MISMATCH, "float32[4, 3]"),
        (SQUARED, floats(3), Reason.SHAPE_MISMATCH, "float32[4, 3]"),
        (SQUARED, np.ones((4, 3), np.int32), Reason.DTYPE_MISMATCH, "float32[4, 3]"),
        (CROSS_ENTROPY, floats(4), Reason.SHAPE_MISMATCH, "float32[4, 3], or integer classes"),
        (CROSS_ENTROPY, np.ones((4, 1), np.int32), Reason.SHAPE_MISMATCH, "int32[4]"),
        (CROSS_ENTROPY, np.ones((4, 3), np.int32), Reason.SHAPE_MISMATCH, "int32[4]"),
        (CROSS_ENTROPY, np.ones(4, bool), Reason.DTYPE_MISMATCH, "int32[4]"),
        ({"huber": {"target": "y"}}, floats(4, 1), Reason.SHAPE_MISMATCH, "float32[4, 3]"),
        ({"kullback_leibler": {"target": "y"}}, floats(4), Reason.SHAPE_MISMATCH, "float32[4, 3]"),
        ({"kullback_leibler": {"target": "y"}}, np.ones(4, np.int32), Reason.SHAPE_MISMATCH, "float32[4, 3]"),
        ({"negative_log_likelihood": {"target": "y"}}, floats(4), Reason.DTYPE_MISMATCH, "int32[4]"),
    ],
)
def test_a_target_that_does_not_fit_is_refused_and_never_broadcast(formula, target, reason, expected):
    problem = refused(formula, batch={"y": target})
    assert problem.reason is reason
    assert problem.metadata["field"] == "batch.y"
    assert problem.metadata["expected"] == expected


def test_a_batch_of_numbers_and_a_column_of_numbers_are_told_apart_with_a_hint():
    problem = refused(SQUARED, prediction=floats(4, 1), batch={"y": floats(4)})
    assert problem.reason is Reason.SHAPE_MISMATCH
    assert "reshape" in problem.metadata["hint"]


@pytest.mark.parametrize("weights", [floats(4, 1), floats(3), floats(), floats(4, 3, 1), floats(1)])
def test_weights_that_do_not_fit_the_first_axes_are_refused(weights):
    problem = refused(SQUARED, batch={"y": floats(4, 3), "w": weights}, example_weights="w")
    assert problem.reason is Reason.SHAPE_MISMATCH
    assert problem.metadata["field"] == "batch.w"


def test_weights_of_a_loss_that_is_one_number_are_refused():
    problem = refused({"output": {}}, prediction=floats(), batch={"w": floats(4)}, example_weights="w")
    assert problem.reason is Reason.SHAPE_MISMATCH


def test_an_integer_prediction_is_refused():
    problem = refused({"output": {}}, prediction=np.ones(3, np.int32))
    assert problem.reason is Reason.DTYPE_MISMATCH
    assert problem.metadata["field"] == "loss.output.prediction"


def test_names_that_are_nearly_right_are_suggested():
    problem = refused(SQUARED, batch={"yy": floats(4, 3)})
    assert "'yy'" in problem.metadata["hint"]


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint8", "int64", "float16", "float32"])
def test_weights_may_be_of_any_type_of_number(dtype):
    weights = np.asarray([0, 1, 1, 0]).astype(dtype)
    with jax.enable_x64(True), jax.numpy_dtype_promotion("strict"):
        value, _ = evaluate({"output": {}}, np.float32([9, 1, 3, 9]), {"w": weights}, example_weights="w")
    assert float(value.loss) == 2
    assert float(value.weight_sum) == 2
    assert value.loss.dtype == jnp.float32


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "int64", "uint64"])
def test_classes_may_be_of_any_integer_type(dtype):
    with jax.enable_x64(True), jax.numpy_dtype_promotion("strict"):
        logits = np.zeros((2, 300), np.float32)
        value, checks = evaluate(CROSS_ENTROPY, logits, {"y": np.asarray([0, 100]).astype(dtype)})
        assert float(value.loss) == pytest.approx(np.log(300), rel=1e-6)
        assert [bool(check.failed) for check in checks] == [False]


@pytest.mark.parametrize("label", [-1, 3, 2**31 - 1, -(2**31)])
def test_a_class_out_of_range_fails_a_check(label):
    _, (check,) = evaluate(CROSS_ENTROPY, floats(2, 3), {"y": np.int32([0, label])})
    assert bool(check.failed)
    assert check.problem.reason is Reason.INDEX_OUT_OF_RANGE
    assert check.problem.metadata == {"field": "batch.y", "expected": "0 to 2"}


def test_half_precision_is_reckoned_in_float32():
    prediction = np.float16([300.0, 300.0])
    value, _ = evaluate(SQUARED, prediction, {"y": np.zeros(2, np.float16)})
    assert value.loss.dtype == jnp.float32
    assert float(value.loss) == 90_000


def test_probabilities_of_0_and_1_are_taken_at_their_word():
    def loss(prediction, target):
        return evaluate({"binary_cross_entropy": {"target": "y"}}, prediction, {"y": np.float32([target])})[0].loss

    for sure, gradient in ((0.0, 1.0), (1.0, -1.0)):
        value, slope = jax.value_and_grad(loss)(jnp.asarray([sure], jnp.float32), sure)
        assert float(value) == 0
        assert float(slope[0]) == gradient
        assert float(loss(jnp.asarray([sure], jnp.float32), 1 - sure)) == np.inf


@pytest.mark.parametrize("logit", [-np.inf, -1000.0, -90.0, 90.0, 1000.0, np.inf])
def test_logits_of_any_size_have_the_cross_entropy_of_their_sigmoid(logit):
    def loss(prediction, target):
        formula = {"binary_cross_entropy": {"target": "y", "from_logits": True}}
        return evaluate(formula, prediction, {"y": np.float32([target])})[0].loss

    right = float(logit > 0)
    prediction = jnp.asarray([logit], jnp.float32)
    value, slope = jax.value_and_grad(loss)(prediction, right)
    assert float(value) == pytest.approx(0, abs=1e-30)
    assert float(slope[0]) == pytest.approx(0, abs=1e-30)
    assert float(loss(prediction, 1 - right)) == abs(logit)


def test_a_gradient_with_respect_to_a_binary_target_is_right_at_0_and_1():
    def loss(target, prediction):
        return evaluate({"binary_cross_entropy": {"target": "y"}}, prediction, {"y": target})[0].loss

    slopes = jax.grad(loss)(jnp.float32([0.0, 1.0]), jnp.float32([0.25, 0.25]))
    np.testing.assert_allclose(slopes, [np.log(3) / 2] * 2, rtol=1e-6)


def test_a_class_that_cannot_be_costs_nothing_where_it_has_no_probability():
    def loss(logits):
        return evaluate(CROSS_ENTROPY, logits, {"y": np.float32([[0.5, 0.5, 0.0]])})[0].loss

    value, slope = jax.value_and_grad(loss)(jnp.float32([[1.0, 1.0, -np.inf]]))
    assert float(value) == pytest.approx(np.log(2))
    np.testing.assert_allclose(slope, [[0, 0, 0]], atol=1e-7)


def test_a_target_may_be_another_output_but_the_batch_comes_first():
    outputs = {"a": floats(2), "b": 3 * floats(2)}
    formula = {"squared_error": {"target": "b"}}
    assert float(evaluate(formula, outputs, {})[0].loss) == 4
    assert float(evaluate(formula, outputs, {"b": floats(2)})[0].loss) == 0


def test_negative_weights_that_cancel_out_have_no_mean():
    batch = {"w": np.float32([1, -1])}
    assert not np.isfinite(loss_of({"output": {}}, [1, 2], batch, example_weights="w"))
    assert loss_of({"output": {}}, [1, 2], batch, example_weights="w", reduction="REDUCTION_SUM") == -1


def test_an_example_counts_with_the_largest_of_its_weights():
    value, _ = evaluate(
        {"output": {}},
        np.float32([[1, 2, 3], [4, 5, 6], [7, 8, 9]]),
        {"w": np.float32([[1, 1, 0], [0.5, 0, 0], [0, 0, 0]])},
        example_weights="w",
        reduction="REDUCTION_SUM_THEN_MEAN",
    )
    assert float(value.weight_sum) == 1.5
    assert float(value.loss) == pytest.approx((1 + 2 + 2) / 1.5)


def test_a_term_of_weight_0_is_reported_and_not_added():
    formula = {
        "sum": {
            "terms": [
                {"name": "watched", "weight": 0.0, "loss": {"output": {"prediction": "b"}}},
                {"name": "trained", "weight": 2.0, "loss": {"output": {"prediction": "a"}}},
            ]
        }
    }
    value, _ = evaluate(formula, {"a": floats(2), "b": np.float32([np.inf])}, {})
    assert float(value.loss) == 2
    assert {name: float(term) for name, term in value.terms.items()} == {"watched": np.inf, "trained": 1.0}


def test_names_taken_from_the_batch_are_known_without_data():
    message = loss_pb2.Loss(
        sum={
            "terms": [
                {"name": "a", "loss": {**SQUARED, "example_weights": "w"}},
                {"name": "b", "loss": {**CROSS_ENTROPY, "example_weights": "w"}},
                {"name": "c", "loss": {"output": {}, "example_weights": "v"}},
                {"name": "d", "loss": {"custom": {"graph": graph(["z"], ("square", ["z"], SQUARE))}}},
            ]
        }
    )
    loss = load_loss(message.SerializeToString(), Limits())
    assert loss.weights_names == ("w", "v")
    assert loss.tensors == {"y", "w", "v", "z"}


def test_a_custom_loss_may_be_a_penalty_on_a_parameter():
    nodes = [("square", ["dense_1/kernel"], SQUARE), ("sum", ["square"], SUM)]
    formula = {"custom": {"graph": graph(["dense_1/kernel"], *nodes)}}
    value, _ = evaluate(formula, floats(2), {}, {"dense_1/kernel": jnp.full((2, 3), 2.0)})
    assert float(value.loss) == 24
    assert value.loss.shape == ()


def test_a_custom_loss_takes_outputs_before_the_batch_before_parameters():
    formula = {"custom": {"graph": graph(["a", "b", "c"], ("sum", ["a", "b", "c"], ADD))}, "reduction": "REDUCTION_SUM"}
    batch = {"a": 10 * floats(1), "b": 10 * floats(1)}
    parameters = {name: jnp.full(1, 100.0) for name in "abc"}
    assert float(evaluate(formula, {"a": floats(1)}, batch, parameters)[0].loss) == 1 + 10 + 100


@pytest.mark.parametrize(
    ("given", "reason", "field"),
    [
        (graph(["nowhere"], ("square", ["nowhere"], SQUARE)), Reason.UNKNOWN_NAME, "inputs[0].name"),
        (graph(["out"], ("dense", ["out"], {"dense": {"units": 1}})), Reason.INVALID_LOSS, ""),
        (graph(["out"], ("drop", ["out"], {"dropout": {"rate": 0.5}})), Reason.INVALID_LOSS, ""),
        (
            graph(["out"], ("a", ["out"], SQUARE), ("b", ["a"], SQUARE), outputs=["a", "b"]),
            Reason.INVALID_LOSS,
            "outputs",
        ),
        (
            network_pb2.Graph(
                inputs=[{"name": "out", "data_type": "DATA_TYPE_FLOAT32", "shape": [{"size": 4}]}],
                nodes=[{"name": "a", "inputs": ["out"], **SQUARE}],
            ),
            Reason.INVALID_LOSS,
            "inputs[0]",
        ),
        (graph(["y"], ("a", ["y"], {"cast": {"data_type": "DATA_TYPE_INT32"}})), Reason.INVALID_LOSS, ""),
    ],
)
def test_a_custom_loss_that_is_none_is_refused(given, reason, field):
    problem = refused({"custom": {"graph": given}}, batch={"y": floats(4)})
    assert problem.reason is reason
    assert problem.metadata["field"] == f"loss.custom.graph.{field}".rstrip(".")

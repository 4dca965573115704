"""Gradients of each example's own loss: against the example alone and the batch, and refused where there are none."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gradserve as gs
from gradserve_server.common.errors import Problem, Reason
from gradserve_server.common.specs import Mode, Options, Selection
from gradserve_server.compute.program.examples import chunk_size
from tests.unit.compute.programs import EXECUTOR, compute, spec_of, weights_of

EXAMPLES = 5
TRAINING = Options(mode=Mode.TRAINING)
DRAWN = np.random.default_rng(0)
NET = gs.sequential(gs.dense(4), gs.tanh(), gs.dense(2), x=gs.spec("batch", 3, dtype="float64"))
WEIGHTS = weights_of(NET)
DEEP = gs.sequential(
    gs.dense(4),
    gs.relu(),
    gs.repeat([gs.dense(4), gs.tanh(), gs.dropout(0.4)], 3),
    gs.dense(2),
    x=gs.spec("batch", 3, dtype="float64"),
)
BATCH = {"x": DRAWN.normal(size=(EXAMPLES, 3)), "y": DRAWN.normal(size=(EXAMPLES, 2))}
EXAMPLE_WEIGHTS = {"w": np.array([1.0, 2.0, 0.0, 0.5, 1.5])}
WHOLE = Selection(inputs=("x",), per_example=True, example_summary=True)


def gradients(loss: gs.Loss, selection: Selection, batch: Any = None) -> dict[str, Any]:
    return compute("gradients", NET, WEIGHTS, batch or BATCH, loss, selection=selection)


def shares(reduction: str, weights: np.ndarray | None) -> np.ndarray:
    if reduction == "sum":
        return np.ones(EXAMPLES)
    return np.full(EXAMPLES, 1 / EXAMPLES) if weights is None else weights / weights.sum()


def norms_of(found: dict[str, Any]) -> np.ndarray:
    """Norm of each example's gradient over all parameters."""
    return np.sqrt(sum(np.square(one.reshape(EXAMPLES, -1)).sum(1) for one in found["gradient"].values()))


@pytest.mark.parametrize(
    ("reduction", "weighted"),
    [
        ("mean", True),
        pytest.param("mean", False, marks=pytest.mark.long),
        pytest.param("sum", False, marks=pytest.mark.long),
        pytest.param("sum_then_mean", True, marks=pytest.mark.long),
    ],
)
def test_they_add_up_to_the_batch(reduction: Any, weighted: bool) -> None:
    """With what is random as well: the masks are those of the whole batch, in each turn of the block."""
    batch = BATCH | EXAMPLE_WEIGHTS if weighted else BATCH
    loss = gs.squared_error("y", reduction=reduction, example_weights="w" if weighted else None)
    weights = weights_of(DEEP)
    fields: dict[str, Any] = {"options": TRAINING, "seed": 3}
    whole = compute("gradients", DEEP, weights, batch, loss, selection=Selection(inputs=("x",)), **fields)
    own = compute("gradients", DEEP, weights, batch, loss, selection=WHOLE, **fields)
    share = shares(reduction, batch.get("w"))
    assert own["numbers"]["loss"] == whole["numbers"]["loss"]
    np.testing.assert_allclose(share @ own["example"]["losses"], whole["numbers"]["loss"], rtol=1e-13)
    for name, gradient in whole["gradient"].items():
        np.testing.assert_allclose(np.tensordot(share, own["gradient"][name], 1), gradient, rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(share[:, None] * own["input_gradient"]["x"], whole["input_gradient"]["x"], rtol=1e-11)
    np.testing.assert_allclose(own["example"]["norms"], norms_of(own), rtol=1e-13)


def test_an_own_loss_is_that_of_the_example_alone() -> None:
    embedded = gs.sequential(
        gs.embedding(7, 4), gs.layer_normalization(), gs.dense(3), x=gs.spec("b", 6, dtype="int32")
    )
    weights = weights_of(embedded)
    batch = {
        "x": DRAWN.integers(0, 7, (EXAMPLES, 6), dtype=np.int32),
        "y": DRAWN.integers(0, 3, (EXAMPLES, 6), dtype=np.int32),
        "w": DRAWN.uniform(0.5, 2.0, (EXAMPLES, 6)),
    }
    loss = gs.softmax_cross_entropy("y", example_weights="w", reduction="sum_then_mean")
    own = compute(
        "gradients", embedded, weights, batch, loss, selection=Selection(per_example=True, example_summary=True)
    )
    for index in range(EXAMPLES):
        alone = {name: value[index : index + 1] for name, value in batch.items()}
        expected = compute("gradients", embedded, weights, alone, loss)
        np.testing.assert_allclose(own["example"]["losses"][index], expected["numbers"]["loss"], rtol=1e-12)
        np.testing.assert_allclose(own["example"]["norms"][index], expected["numbers"]["global_norm"], rtol=1e-12)
        for name, gradient in expected["gradient"].items():
            np.testing.assert_allclose(own["gradient"][name][index], gradient, rtol=1e-11, atol=1e-14)


def test_what_is_shared_is_whole_for_every_example() -> None:
    builder = gs.GraphBuilder()
    x = builder.input("x", "batch", 3, dtype="float64")
    points = builder.input("points", 4, 3, dtype="float64")
    centre = builder.add(gs.reduce_mean(0, keep_axes=True), builder.add(gs.dense(2), points))
    net = builder.build(outputs=[builder.add(gs.dense(2), x) + centre])
    weights = weights_of(net)
    batch = BATCH | {"points": DRAWN.normal(size=(4, 3))}
    fields: dict[str, Any] = {"shared": ("points",)}
    loss = gs.squared_error("y", reduction="sum")
    own = compute(
        "gradients", net, weights, batch, loss, selection=Selection(inputs=("points", "x"), per_example=True), **fields
    )
    whole = compute("gradients", net, weights, batch, loss, selection=Selection(inputs=("points", "x")), **fields)
    assert own["input_gradient"]["points"].shape == (EXAMPLES, 4, 3)
    for group in ("gradient", "input_gradient"):
        for name, gradient in whole[group].items():
            found = own[group][name] if name == "x" else own[group][name].sum(0)
            np.testing.assert_allclose(found, gradient, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(("reduction", "weighted"), [("mean", True), ("sum", False)])
def test_clipping_scales_each_example_before_they_are_reduced(reduction: Any, weighted: bool) -> None:
    batch = BATCH | EXAMPLE_WEIGHTS if weighted else BATCH
    loss = gs.squared_error("y", reduction=reduction, example_weights="w" if weighted else None)
    own = gradients(loss, WHOLE, batch)
    norms = own["example"]["norms"]
    most = float(np.median(norms[norms > 0]))
    factors = np.minimum(1, most / np.where(norms > 0, norms, 1))
    assert (factors < 1).any()
    found = gradients(loss, Selection(inputs=("x",), clip_example_norm=most, example_summary=True), batch)
    each = gradients(loss, Selection(inputs=("x",), clip_example_norm=most, per_example=True), batch)
    np.testing.assert_allclose(found["example"]["norms"], norms, rtol=1e-12)
    for name, gradient in own["gradient"].items():
        scaled = np.einsum("e,e...->e...", factors, gradient)
        np.testing.assert_allclose(each["gradient"][name], scaled, rtol=1e-11, atol=1e-14)
        reduced = np.tensordot(shares(reduction, batch.get("w")), scaled, 1)
        np.testing.assert_allclose(found["gradient"][name], reduced, rtol=1e-10, atol=1e-13)
    # It is the parameters' gradients that are scaled.
    np.testing.assert_array_equal(each["input_gradient"]["x"], own["input_gradient"]["x"])
    whole = gradients(loss, Selection(inputs=("x",)), batch)
    np.testing.assert_allclose(found["input_gradient"]["x"], whole["input_gradient"]["x"], rtol=1e-12)


def test_an_example_of_weight_0_has_no_gradient_whatever_it_holds() -> None:
    batch = {name: value.copy() for name, value in (BATCH | EXAMPLE_WEIGHTS).items()}
    batch["x"][2], batch["y"][2] = np.nan, np.inf
    loss = gs.squared_error("y", example_weights="w")
    own = gradients(loss, WHOLE, batch)
    clipped = gradients(loss, Selection(clip_example_norm=0.5, example_summary=True), batch)
    assert own["numbers"]["finite"] == clipped["numbers"]["finite"] == 1
    for found in (own, clipped):
        assert found["example"]["losses"][2] == found["example"]["norms"][2] == 0
    assert not own["input_gradient"]["x"][2].any()


def test_a_summary_holds_few_gradients_at_a_time() -> None:
    wide = gs.sequential(gs.dense(512), gs.tanh(), gs.dense(512), x=("batch", 512))
    weights = weights_of(wide, dtype=np.float32)
    examples = 64
    batch = {"x": np.zeros((examples, 512), np.float32), "y": np.zeros((examples, 512), np.float32)}
    loss, selection = gs.squared_error("y"), Selection(summary_only=True, example_summary=True)
    program = EXECUTOR.prepare(spec_of("gradients", wide, weights, batch, loss, selection=selection)[0])
    held = sum(array.nbytes for array in weights.values())
    assert program.peak_bytes < 0.35 * examples * held


def test_the_derivative_that_an_operation_chooses_is_kept() -> None:
    """That of relu at 0 is 0, in the whole batch and for each example alone."""
    net = gs.sequential(gs.dense(3), gs.relu(), x=gs.spec("batch", 3, dtype="float64"))
    weights = {"dense_1/kernel": np.eye(3), "dense_1/bias": np.zeros(3)}
    batch = {"x": np.zeros((EXAMPLES, 3)), "y": np.ones((EXAMPLES, 3))}
    own = compute("gradients", net, weights, batch, gs.squared_error("y"), selection=Selection(per_example=True))
    assert not own["gradient"]["dense_1/bias"].any()


def normalized() -> gs.Network:
    return gs.sequential(gs.dense(2), gs.batch_normalization(name="norm"), x=gs.spec("batch", 3, dtype="float64"))


def contrastive() -> gs.Loss:
    builder = gs.GraphBuilder()
    prediction, y = builder.input("dense_2"), builder.input("y")
    return gs.custom_loss(
        builder.build(outputs=[prediction - builder.add(gs.reduce_mean(0, keep_axes=True, name="centre"), y)])
    )


def refused(network: gs.Network, loss: gs.Loss, selection: Selection, **fields: Any) -> Problem:
    with pytest.raises(Problem) as caught:
        compute("gradients", network, weights_of(network), BATCH, loss, selection=selection, **fields)
    return caught.value


@pytest.mark.parametrize("option", ["per_example", "clip_example_norm", "example_summary"])
def test_examples_that_depend_on_each_other_are_refused_with_the_node(option: str) -> None:
    problem = refused(normalized(), gs.squared_error("y"), Selection(**{option: True}), options=TRAINING)
    assert problem.reason is Reason.DEPENDENT_EXAMPLES
    assert problem.metadata["node"] == "norm"
    assert problem.metadata["field"] == f"gradients.{option}"


def test_stored_statistics_leave_examples_apart() -> None:
    options = Options(mode=Mode.INFERENCE)
    network = normalized()
    own = compute(
        "gradients", network, weights_of(network), BATCH, gs.squared_error("y"), selection=WHOLE, options=options
    )
    assert own["example"]["losses"].shape == (EXAMPLES,)


def test_one_example_is_mixed_with_none() -> None:
    network = normalized()
    batch = {name: value[:1] for name, value in BATCH.items()}
    loss = gs.squared_error("y")
    fields: dict[str, Any] = {"options": TRAINING}
    own = compute(
        "gradients", network, weights_of(network), batch, loss, selection=Selection(per_example=True), **fields
    )
    whole = compute("gradients", network, weights_of(network), batch, loss, **fields)
    for name, gradient in whole["gradient"].items():
        np.testing.assert_allclose(own["gradient"][name][0], gradient, rtol=1e-12)


def penalized(reduction: Any) -> gs.Loss:
    builder = gs.GraphBuilder()
    kernel = builder.input("dense_1/kernel")
    penalty = gs.custom_loss(builder.build(outputs=[builder.add(gs.reduce_sum(), kernel * kernel)]))
    return gs.sum_of_losses({"fit": gs.squared_error("y", reduction=reduction), "penalty": (0.1, penalty)})


def test_a_penalty_is_in_each_own_loss() -> None:
    own, whole = gradients(penalized("mean"), WHOLE), gradients(penalized("mean"), Selection())
    np.testing.assert_allclose(own["example"]["losses"].mean(), whole["numbers"]["loss"], rtol=1e-12)
    clipped = gradients(penalized("mean"), Selection(clip_example_norm=1e6))
    for name, gradient in whole["gradient"].items():
        np.testing.assert_allclose(own["gradient"][name].mean(0), gradient, rtol=1e-11, atol=1e-14)
        np.testing.assert_allclose(clipped["gradient"][name], gradient, rtol=1e-11, atol=1e-14)


def test_terms_that_are_reduced_in_different_ways_cannot_be_clipped_by_example() -> None:
    both = gs.sum_of_losses({"a": gs.squared_error("y"), "b": gs.absolute_error("y", reduction="sum")})
    for loss in (penalized("sum"), both):
        problem = refused(NET, loss, Selection(clip_example_norm=1.0))
        assert problem.reason is Reason.INVALID_LOSS


def test_a_batch_that_is_all_shared_has_no_examples() -> None:
    problem = refused(NET, gs.squared_error("y"), Selection(per_example=True), shared=("x", "y"))
    assert problem.reason is Reason.INVALID_VALUE


@pytest.mark.parametrize(
    ("count", "held", "size"),
    [(64, 1 << 20, 16), (64, 1 << 30, 1), (3, 8, 3), (1, 8, 1), (30, 1 << 20, 15), (31, 1 << 20, 16), (5, 0, 5)],
)
def test_examples_are_taken_in_chunks_that_divide_them(count: int, held: int, size: int) -> None:
    assert chunk_size(count, held, count) == size


def test_no_more_examples_are_taken_at_once_than_a_part_holds() -> None:
    assert chunk_size(64, 8, 8) == 8

"""The local loop: updates, steps that are skipped, and a loss scale that finds its level."""

import numpy as np
import pytest

import gradserve as gs

NET = gs.sequential(gs.dense(1), x=("batch", 1))
LOSS = gs.output_loss()


class Answers:
    """A client whose gradients are 1, and overflow above a loss scale."""

    def __init__(self, most=np.inf):
        self.most = most
        self.scales = []

    def gradients(self, network, weights, batch, *, loss, **options):
        scale = options.get("loss_scale")
        self.scales.append(scale)
        finite = scale is None or scale <= self.most
        ones = {name: np.full_like(one, 1.0 if finite else np.inf) for name, one in weights.items() if name != "mean"}
        return gs.GradientResult(
            loss=2.0,
            gradients=ones,
            input_gradients={},
            outputs={},
            updated_statistics={"mean": np.ones(1)} if "mean" in weights else {},
            summary=gs.GradientSummary(global_norm=1.0, norms={}, finite=finite),
            weight_sum=1.0,
            terms={},
            timing=gs.Timing(0.0, 0.0, 0.0),
            safetensors=b"",
        )


def steps(client, weights, count, **options):
    return list(gs.train_locally(client, NET, weights, [{}] * count, loss=LOSS, **options))


def test_weights_go_down_their_gradients_and_statistics_are_taken_over():
    weights = {"w": np.ones(2, np.float32), "mean": np.zeros(1)}
    found = steps(Answers(), weights, 2, learning_rate=0.25)
    np.testing.assert_allclose(weights["w"], 0.5)
    assert weights["w"].dtype == np.float32
    assert weights["mean"] == 1
    assert found == [gs.LocalStep(1, 2.0, False, 1.0), gs.LocalStep(2, 2.0, False, 1.0)]


def test_an_overflow_skips_the_step_halves_the_scale_and_goes_on():
    client, weights = Answers(most=4096.0), {"w": np.zeros(1, np.float32)}
    found = steps(client, weights, 6, precision="float16", learning_rate=1.0)
    assert client.scales == [2.0**15, 2.0**14, 2.0**13, 2.0**12, 2.0**12, 2.0**12]
    assert [one.skipped for one in found] == [True, True, True, False, False, False]
    np.testing.assert_array_equal(weights["w"], -3.0)


def test_the_scale_rises_after_long_peace_and_not_before():
    scale = gs.LossScale(8.0)
    for _ in range(1999):
        scale.after(True)
    assert scale.value == 8.0
    scale.after(True)
    assert scale.value == 16.0


def test_an_update_of_the_caller_s_own_takes_the_place_of_descent():
    weights = {"w": np.zeros(1, np.float32)}
    steps(Answers(), weights, 3, update=lambda given, gradients: given.update(w=given["w"] + 2 * gradients["w"]))
    np.testing.assert_array_equal(weights["w"], 6.0)


def test_a_scale_that_is_none_is_refused():
    with pytest.raises(gs.InvalidRequest):
        steps(Answers(), {}, 1, precision="float16", loss_scale=0.0)

"""Requests of many megabytes, which the SDK sends over a stream by itself."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import gradserve as gs
from gradserve import requests
from gradserve.wire import STREAMED_BYTES
from tests.e2e.test_held import forget

WIDTH = 1100
NET = gs.sequential(gs.dense(WIDTH), gs.tanh(), gs.dense(3), x=("batch", WIDTH))
LOSS = gs.squared_error(target="y")


@pytest.fixture(scope="module")
def weights() -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    shapes = {
        "dense_1/kernel": (WIDTH, WIDTH),
        "dense_1/bias": (WIDTH,),
        "dense_2/kernel": (WIDTH, 3),
        "dense_2/bias": (3,),
    }
    return {name: (random.standard_normal(shape) / WIDTH).astype(np.float32) for name, shape in shapes.items()}


def batch(seed: int = 0) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    return {
        "x": random.standard_normal((4, WIDTH)).astype(np.float32),
        "y": random.standard_normal((4, 3)).astype(np.float32),
    }


def by_hand(weights: dict[str, np.ndarray], batch: dict[str, np.ndarray]) -> tuple[float, dict[str, np.ndarray]]:
    """Loss and gradients in float64."""
    w = {name: value.astype(np.float64) for name, value in weights.items()}
    x, y = batch["x"].astype(np.float64), batch["y"].astype(np.float64)
    h = np.tanh(x @ w["dense_1/kernel"] + w["dense_1/bias"])
    error = h @ w["dense_2/kernel"] + w["dense_2/bias"] - y
    of_output = 2 * error / error.size
    of_z = (of_output @ w["dense_2/kernel"].T) * (1 - h**2)
    return float(np.mean(error**2)), {
        "dense_1/kernel": x.T @ of_z,
        "dense_1/bias": of_z.sum(0),
        "dense_2/kernel": h.T @ of_output,
        "dense_2/bias": of_output.sum(0),
    }


def assert_right(result: gs.GradientResult, weights: dict[str, np.ndarray], batch: dict[str, np.ndarray]) -> None:
    loss, gradients = by_hand(weights, batch)
    np.testing.assert_allclose(result.loss, loss, rtol=1e-5)
    assert result.gradients.keys() == gradients.keys()
    for name, gradient in gradients.items():
        np.testing.assert_allclose(result.gradients[name], gradient, rtol=1e-3, atol=1e-7)


@pytest.mark.parametrize("isolation", ["client", "client_in_process"])
def test_a_streamed_answer_is_right(request, isolation, weights):
    client: gs.Client = request.getfixturevalue(isolation)
    assert requests.gradients(NET, weights, batch(), loss=LOSS).streamed is not None
    result = client.gradients(NET, weights, batch(), loss=LOSS, inputs=["x"], outputs=["dense_2"])
    assert_right(result, weights, batch())
    assert result.input_gradients["x"].shape == (4, WIDTH)
    assert result.outputs["dense_2"].shape == (4, 3)
    result.gradients["dense_1/kernel"][0, 0] = 0  # its own memory


def test_a_streamed_answer_is_that_of_one_message_to_the_bit(client, weights, monkeypatch):
    streamed = client.gradients(NET, weights, batch(), loss=LOSS)
    monkeypatch.setattr("gradserve.requests.content.STREAMED_BYTES", 1 << 31)
    plain = client.gradients(NET, weights, batch(), loss=LOSS)
    assert streamed.loss == plain.loss
    for name, gradient in plain.gradients.items():
        np.testing.assert_array_equal(streamed.gradients[name], gradient)


def test_small_requests_are_not_streamed(weights):
    small = {"x": np.zeros((1, 3), np.float32), "y": np.zeros((1, 3), np.float32)}
    assert requests.gradients(NET, gs.seeded(0), small, loss=LOSS).streamed is None
    assert sum(one.nbytes for one in weights.values()) > STREAMED_BYTES


def test_threads_share_the_stream_and_get_their_own_answers(client, weights):
    def ask(seed: int) -> None:
        assert_right(client.gradients(NET, weights, batch(seed), loss=LOSS), weights, batch(seed))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(ask, range(12)))


def test_a_failure_has_its_details_and_ends_nothing_else(client, weights):
    wrong = weights | {"dense_2/bias": np.zeros(4, np.float32)}
    with pytest.raises(gs.InvalidRequest) as caught:
        client.gradients(NET, wrong, batch(), loss=LOSS)
    assert (caught.value.reason, caught.value.field) == ("SHAPE_MISMATCH", "weights.dense_2/bias")
    assert_right(client.gradients(NET, weights, batch(), loss=LOSS), weights, batch())


def test_forward_streams_as_well(client, weights):
    result = client.forward(NET, weights, {"x": batch()["x"]})
    hidden = np.tanh(batch()["x"] @ weights["dense_1/kernel"] + weights["dense_1/bias"])
    expected = hidden @ weights["dense_2/kernel"] + weights["dense_2/bias"]
    np.testing.assert_allclose(result.outputs["dense_2"], expected, rtol=1e-4, atol=1e-6)


def test_gradients_of_held_weights_are_streamed_too_and_weights_that_were_forgotten_follow(client, weights):
    held = client.put(weights)
    assert requests.gradients(NET, held, batch(), loss=LOSS).streamed is not None
    for _ in range(2):
        assert_right(client.gradients(NET, held, batch(), loss=LOSS), weights, batch())
    forget(client, held)
    assert_right(client.gradients(NET, held, batch(), loss=LOSS), weights, batch())


def test_gradients_come_as_a_file_too(client, weights):
    result = client.gradients(NET, weights, batch(), loss=LOSS, as_safetensors=True)
    assert_right(result, weights, batch())
    assert len(result.safetensors) > STREAMED_BYTES


def test_a_timeout_ends_the_call_and_not_the_stream(client, weights):
    with pytest.raises(gs.DeadlineExceeded):
        client.gradients(NET, weights, batch(), loss=LOSS, timeout=1e-4)
    assert_right(client.gradients(NET, weights, batch(), loss=LOSS), weights, batch())


def test_weights_of_nearly_a_fifth_of_the_budget_fit():
    # As they came, copied as one message would be, gradients on the device, what makes them, gradients in the answer.
    width = 1750
    large = {"dense_1/kernel": np.zeros((width, width), np.float32), "dense_1/bias": np.zeros(width, np.float32)}
    net = gs.sequential(gs.dense(width), x=("batch", width))
    with gs.local(memory_budget=64 << 20) as one:
        result = one.gradients(net, large, {"x": np.ones((1, width)), "y": np.ones((1, width))}, loss=LOSS)
        np.testing.assert_allclose(result.gradients["dense_1/bias"], -2 / width, rtol=1e-5)
        with pytest.raises(gs.LimitExceeded) as caught:
            one.gradients(net, large, {"x": np.ones((5000, width)), "y": np.ones((5000, width))}, loss=LOSS)
        assert caught.value.reason == "MEMORY_LIMIT"


def test_closing_ends_streamed_calls(weights):
    client = gs.local(isolation="none")
    assert_right(client.gradients(NET, weights, batch(), loss=LOSS), weights, batch())
    before = threading.active_count()
    client.close()
    with pytest.raises(gs.ClientClosed):
        client.gradients(NET, weights, batch(), loss=LOSS)
    assert threading.active_count() <= before


def test_tasks_share_the_stream_of_an_event_loop_and_get_their_own_answers(client, weights, monkeypatch):
    async def unary(*_):
        raise AssertionError("a large call goes over the stream")

    monkeypatch.setattr("gradserve.transport.async_connection.AsyncConnection._attempt", unary)

    async def main() -> list[gs.GradientResult]:
        async with gs.AsyncClient(client.address) as other:
            with pytest.raises(gs.DeadlineExceeded):
                await other.gradients(NET, weights, batch(), loss=LOSS, timeout=1e-4)
            given_up = asyncio.create_task(other.gradients(NET, weights, batch(), loss=LOSS))
            await asyncio.sleep(0.001)
            given_up.cancel()
            with pytest.raises(asyncio.CancelledError):
                await given_up
            with pytest.raises(gs.InvalidRequest):
                await other.gradients(NET, weights | {"dense_2/bias": np.zeros(4)}, batch(), loss=LOSS)
            answers = (other.gradients(NET, weights, batch(seed), loss=LOSS) for seed in range(6))
            found = await asyncio.gather(*answers)
        with pytest.raises(gs.ClientClosed):
            await other.gradients(NET, weights, batch(), loss=LOSS)
        return found

    for seed, result in enumerate(asyncio.run(main())):
        assert_right(result, weights, batch(seed))


def test_closing_a_client_of_an_event_loop_ends_its_streamed_calls(client, weights):
    async def main() -> None:
        other = gs.AsyncClient(client.address)
        under_way = [asyncio.create_task(other.gradients(NET, weights, batch(), loss=LOSS)) for _ in range(4)]
        await asyncio.sleep(0.002)
        await other.close()
        for one in await asyncio.gather(*under_way, return_exceptions=True):
            assert isinstance(one, (gs.ClientClosed, gs.GradientResult))

    asyncio.run(main())

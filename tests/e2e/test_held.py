"""Weights and networks that are named by digest, against servers that forget them."""

from __future__ import annotations

import asyncio

import grpc
import numpy as np
import pytest

import gradserve as gs
from gradserve.v1 import artifact_service_pb2 as artifacts

NET = gs.sequential(gs.dense(3), x=("batch", 4))
LOSS = gs.squared_error(target="y")
BATCH = {"x": np.ones((2, 4), np.float32), "y": np.zeros((2, 3), np.float32)}


def weights(seed: int) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    return {
        "dense_1/kernel": random.standard_normal((4, 3)).astype(np.float32),
        "dense_1/bias": np.zeros(3, np.float32),
    }


@pytest.mark.parametrize("form", [dict, gs.weights.to_safetensors])
def test_weights_are_sent_once_and_named_after_that(client: gs.Client, form) -> None:
    given = weights(0)
    held = client.put(form(given))
    assert held.size_bytes > 60
    expected = client.gradients(NET, given, BATCH, loss=LOSS)
    for _ in range(2):
        result = client.gradients(NET, held, BATCH, loss=LOSS)
        assert result.loss == expected.loss
        for name, gradient in expected.gradients.items():
            np.testing.assert_array_equal(result.gradients[name], gradient)
    outputs = client.forward(NET, held, {"x": BATCH["x"]}).outputs
    np.testing.assert_array_equal(outputs["dense_1"], BATCH["x"] @ given["dense_1/kernel"])
    assert client.put(form(given)).digest == held.digest


def test_fresh_weights_can_stay_on_the_server(client: gs.Client) -> None:
    held = client.put_fresh(NET, 3)
    expected = client.gradients(NET, client.initialize(NET, 3), BATCH, loss=LOSS)
    assert client.gradients(NET, held, BATCH, loss=LOSS).loss == expected.loss
    forget(client, held)
    with pytest.raises(gs.MissingContent, match="does not hold"):
        client.gradients(NET, held, BATCH, loss=LOSS)


def forget(client: gs.Client, *held: gs.HeldWeights) -> None:
    with grpc.insecure_channel(client.address) as channel:
        request = artifacts.DeleteRequest(digests=[one.address for one in held])
        channel.unary_unary("/gradserve.v1.ArtifactService/Delete")(request.SerializeToString(), timeout=20)


def test_what_the_server_forgot_is_sent_again_and_held_again(client: gs.Client) -> None:
    held = client.put(weights(1))
    first = client.gradients(NET, held, BATCH, loss=LOSS)
    forget(client, held)
    assert client.gradients(NET, held, BATCH, loss=LOSS).loss == first.loss
    request = artifacts.FindMissingRequest(digests=[held.address])
    with grpc.insecure_channel(client.address) as channel:
        answer = channel.unary_unary("/gradserve.v1.ArtifactService/FindMissing")(request.SerializeToString())
    assert not artifacts.FindMissingResponse.FromString(answer).missing


def test_the_asynchronous_client_does_it_as_well(client: gs.Client) -> None:
    async def main() -> None:
        async with gs.AsyncClient(client.address) as other:
            held = await other.put(weights(2))
            first = await other.gradients(NET, held, BATCH, loss=LOSS)
            forget(client, held)
            assert (await other.gradients(NET, held, BATCH, loss=LOSS)).loss == first.loss
            fresh = await other.put_fresh(NET, 3)
            assert np.isfinite((await other.gradients(NET, fresh, BATCH, loss=LOSS)).loss)

    asyncio.run(main())


def test_large_weights_are_streamed_when_they_are_missing(client: gs.Client) -> None:
    net = gs.sequential(gs.dense(1100), x=("batch", 1000))
    given = client.initialize(net, 0)
    batch = {"x": np.ones((1, 1000), np.float32), "y": np.zeros((1, 1100), np.float32)}
    held = client.put(given)
    first = client.gradients(net, held, batch, loss=LOSS, summary_only=True)
    forget(client, held)
    assert client.gradients(net, held, batch, loss=LOSS, summary_only=True).loss == first.loss
    forget(client, held)

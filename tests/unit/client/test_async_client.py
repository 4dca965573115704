"""The client for asyncio, on a real socket: as its twin."""

import asyncio
import re
import time

import grpc
import numpy as np
import pytest

import gradserve as gs
from tests.unit.client.scripted_server import (
    ANSWER,
    FORWARD,
    answer,
    compiling,
    fail,
    never,
    retry_after,
    serving,
)
from tests.unit.client.test_client import (
    BATCH,
    BUSY,
    INFO,
    NET,
    QUICK,
    UNAVAILABLE,
    free_port,
)


def test_unavailable_is_tried_again():
    async def main(address):
        async with gs.AsyncClient(address, retry=QUICK) as client:
            return await client.server_info()

    with serving(UNAVAILABLE, UNAVAILABLE, answer(ANSWER)) as server:
        assert asyncio.run(main(server.address)).version == "scripted"
        assert len(server.requests) == 3


def test_the_server_s_time_to_come_back_is_kept():
    async def main(address):
        async with gs.AsyncClient(address, retry=QUICK) as client:
            start = time.monotonic()
            await client.server_info()
            return time.monotonic() - start

    busy = fail(grpc.StatusCode.RESOURCE_EXHAUSTED, "busy", BUSY, retry_after(0.3))
    with serving(busy, answer(ANSWER)) as server:
        assert asyncio.run(main(server.address)) >= 0.3
        assert len(server.requests) == 2


def test_what_the_server_refuses_is_raised_with_its_details_and_not_tried_again():
    async def main(address):
        async with gs.AsyncClient(address) as client:
            with pytest.raises(gs.InvalidRequest, match=r"^batch\.x: no$") as caught:
                await client.forward(NET, gs.seeded(0), BATCH)
            return caught.value

    with serving(fail(grpc.StatusCode.INVALID_ARGUMENT, "batch.x: no", INFO)) as server:
        error = asyncio.run(main(server.address))
        assert (error.field, error.reason) == ("batch.x", "SHAPE_MISMATCH")
        assert len(server.requests) == 1


def test_a_call_ends_at_its_timeout():
    async def main(address):
        async with gs.AsyncClient(address) as client:
            with pytest.raises(gs.DeadlineExceeded):
                await client.forward(NET, gs.seeded(0), BATCH, timeout=0.3)

    with serving(never()) as server:
        asyncio.run(main(server.address))


def test_an_address_where_nobody_listens_is_unavailable_within_seconds():
    async def main(address):
        async with gs.AsyncClient(address, connect_timeout=0.5) as client:
            with pytest.raises(gs.Unavailable, match=f"no answer from {re.escape(address)}"):
                await client.server_info()

    start = time.monotonic()
    asyncio.run(main(f"127.0.0.1:{free_port()}"))
    assert time.monotonic() - start < 3


def test_many_calls_share_one_client():
    async def main(address):
        async with gs.AsyncClient(address) as client:
            results = await asyncio.gather(
                *(client.forward(NET, gs.seeded(n), {"x": np.zeros((1 + n % 4, 3), "f4")}) for n in range(100))
            )
            return [one.loss for one in results]

    with serving(answer(FORWARD)) as server:
        assert asyncio.run(main(server.address)) == [1.0] * 100


def test_a_first_call_tells_that_the_server_compiles():
    notices = []

    async def main(address):
        async with gs.AsyncClient(address, on_compile=lambda: notices.append(1)) as client:
            for seed in range(3):
                await client.forward(NET, gs.seeded(seed), BATCH)

    with serving(compiling(FORWARD, 0.05)) as server:
        asyncio.run(main(server.address))
    assert notices == [1]


def test_a_cancelled_task_is_cancelled_and_the_client_goes_on():
    async def main(address):
        async with gs.AsyncClient(address) as client:
            task = asyncio.create_task(client.forward(NET, gs.seeded(0), BATCH))
            await asyncio.sleep(0.2)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            return await client.server_info()

    with serving(never(), answer(ANSWER)) as server:
        assert asyncio.run(main(server.address)).version == "scripted"


def test_closing_ends_calls_of_other_tasks():
    async def main(address):
        client = gs.AsyncClient(address)
        task = asyncio.create_task(client.forward(NET, gs.seeded(0), BATCH))
        await asyncio.sleep(0.2)
        await client.close()
        await client.close()
        with pytest.raises(gs.ClientClosed):
            await task
        with pytest.raises(gs.ClientClosed):
            await client.server_info()

    with serving(never()) as server:
        asyncio.run(main(server.address))


def test_both_clients_have_the_same_calls():
    def calls(kind):
        return {name for name in vars(kind) if not name.startswith("_")}

    assert calls(gs.Client) == calls(gs.AsyncClient)

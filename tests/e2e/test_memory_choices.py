"""Requests as callers write them under each choice that saves memory: the gradients are those without.

In float64, so that only what is wrong differs.
"""

from __future__ import annotations

import grpc
import numpy as np
import pytest
from grpc_status import rpc_status

import gradserve as gs
from gradserve.v1 import gradient_service_pb2 as service
from tests.e2e.test_requests import FILES, Answer, Compute, Request, compute, plain, read, widened

__all__ = ["compute"]  # a fixture

CHOICES = {"products": 2, "blocks": 3, "sqrt": 4}
# Compiled quickly; the others are long.
QUICK = {("02_mlp_classifier", "sqrt"), ("02_mlp_classifier", "2 parts")}
TABLE = [
    pytest.param(name, choice, marks=() if (name, choice) in QUICK else pytest.mark.long)
    for name in FILES
    for choice in (*CHOICES, "2 parts")
]


def asked(name: str, client: gs.Client, choice: str) -> Request:
    request = widened(plain(read(name)), client)
    if choice == "2 parts":
        request.options.micro_batches = 2
        request.options.checkpointing = service.ComputeOptions.CHECKPOINTING_OFF
    else:
        request.options.checkpointing = CHOICES.get(choice, service.ComputeOptions.CHECKPOINTING_OFF)  # type: ignore[assignment]
    return request


def answer(compute: Compute, request: Request) -> Answer | str:
    """The answer, or why there is none."""
    try:
        return compute(request)
    except grpc.RpcError as error:
        status = rpc_status.from_call(error)  # type: ignore[arg-type]
        assert status is not None
        return str(status.message)


@pytest.mark.parametrize(("name", "choice"), TABLE)
def test_gradients_are_those_of_all_values_and_the_whole_batch(
    client: gs.Client, compute: Compute, name: str, choice: str
) -> None:
    expected = compute(asked(name, client, "off"))
    found = answer(compute, asked(name, client, choice))
    if isinstance(found, str):
        assert choice == "2 parts"
        assert (
            "depend on each other" in found or "not so many examples" in found or "all of the batch is shared" in found
        )
        return
    assert found.loss == pytest.approx(expected.loss, rel=1e-9)
    scales = {key: float(np.max(np.abs(value), initial=0.0)) for key, value in expected.gradients.items()}
    # What is 0 but for rounding (the bias of attention's keys, which softmax takes away) is as exact as the largest is.
    rounding = 1e-14 * max(scales.values())
    for key, value in expected.gradients.items():
        most = 1e-6 * scales[key] + rounding
        np.testing.assert_allclose(found.gradients[key], value, rtol=1e-6, atol=most, err_msg=key)

"""Modules read in a process of their own: what crashes or holds up that process is refused, and harms nobody."""

from __future__ import annotations

import time

import pytest

from gradserve_server.common.errors import Problem, Reason
from gradserve_server.common.specs import Limits
from gradserve_server.compute.mlir.apart import Module, check_apart
from gradserve_server.compute.mlir.checking import checked_module
from gradserve_server.compute.mlir.types import Form
from tests.unit.compute.stablehlo.artifacts import main, portable

FORMS = ((Form("float32", (4,)), Form("float32", (None, 4))), (Form("float32", (None, 4)),))


def check(*contents: bytes, seconds: float = 30.0) -> tuple[bytes, ...]:
    return check_apart([Module(one, *FORMS) for one in contents], Limits(), "network.stablehlo", seconds)


def test_modules_come_back_as_they_do_without_a_process() -> None:
    one, two = main(), main("%0 = stablehlo.sine %x : tensor<?x4xf32>", gives="%0 : tensor<?x4xf32>")
    assert check(one, two) == tuple(checked_module(content, *FORMS, Limits(), "") for content in (one, two))


def test_a_refusal_comes_back_with_all_that_it_says() -> None:
    body = "%0 = stablehlo.custom_call @callback(%x) : (tensor<?x4xf32>) -> tensor<?x4xf32>"
    with pytest.raises(Problem) as caught:
        check(main(), main(body, gives="%0 : tensor<?x4xf32>"))
    assert caught.value.reason is Reason.UNSUPPORTED_OPERATION
    assert caught.value.metadata["unsupported"] == "custom call callback in main"
    assert caught.value.metadata["field"] == "network.stablehlo"


# Of this module's bytes, some that make MLIR's reader crash when they are changed, or go on for ever.
CONSTANT = """func.func public @main(%a: tensor<4xf32>, %x: tensor<?x4xf32>) -> tensor<4xf32> {
    %0 = stablehlo.constant dense<[1.0, 2.0, 3.0, 4.0]> : tensor<4xf32>
    return %0 : tensor<4xf32>
}"""


@pytest.mark.parametrize(("place", "value"), [(25, 144), (39, 1), (40, 7), (93, 29), (144, 216), (149, 48)])
def test_bytes_that_crash_the_reader_or_keep_it_busy_are_refused(place: int, value: int) -> None:
    content = bytearray(portable(CONSTANT))
    content[place] = value
    start = time.perf_counter()
    with pytest.raises(Problem) as caught:
        check(bytes(content), seconds=2.0)
    assert caught.value.reason in (Reason.MALFORMED_NETWORK, Reason.TIME_LIMIT)
    assert time.perf_counter() - start < 20

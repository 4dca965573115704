"""Small models that come with the onnx package: its own, and layers and functions of PyTorch as exported long ago."""

from __future__ import annotations

import pytest

from tests.conformance.onnx.upstream import Case, cases

KINDS = ("simple", "pytorch-converted", "pytorch-operator")
CASES = [case for kind in KINDS for case in cases(kind)]


@pytest.mark.parametrize(
    "case", [pytest.param(case, id=case.name.removeprefix("test_")) for case in CASES if case.plain]
)
def test_model(case: Case) -> None:
    case.run()


def test_what_is_left_out_takes_or_gives_no_plain_tensors() -> None:
    left = [case.name for case in CASES if not case.plain]
    assert all(name.startswith(("test_strnorm_", "test_sequence_", "test_gradient_of_")) for name in left)

"""Nine image classifiers that come with the onnx package: their outputs are those that it brings."""

from __future__ import annotations

import pytest

from tests.conformance.onnx.upstream import Case, cases

# Its logits are equal and about 1e10, where one rounding is a thousand: a softmax of them is as XLA happens to round.
UNSTEADY = pytest.mark.xfail(strict=False, reason="equal logits of 1e10: XLA may round them in two ways")
CASES = [
    pytest.param(
        case,
        id=case.name.removeprefix("test_"),
        marks=[pytest.mark.long, *([UNSTEADY] if case.name == "test_squeezenet" else [])],
    )
    for case in cases("real")
]


@pytest.mark.parametrize("case", CASES)
def test_outputs(case: Case, tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    # Where the runner puts what it compares.
    monkeypatch.setenv("ONNX_HOME", str(tmp_path))
    case.run()

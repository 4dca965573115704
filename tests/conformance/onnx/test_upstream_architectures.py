"""Nine image classifiers that come with the onnx package: their outputs are those that it brings."""

from __future__ import annotations

import pytest

from tests.conformance.onnx.upstream import Case, cases

CASES = [pytest.param(case, id=case.name.removeprefix("test_"), marks=pytest.mark.long) for case in cases("real")]


@pytest.mark.parametrize("case", CASES)
def test_outputs(case: Case, tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    # Where the runner puts what it compares.
    monkeypatch.setenv("ONNX_HOME", str(tmp_path))
    case.run()

"""Every operator as the onnx package tests it; in `make test` the first and the last case of each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pytest

from tests.conformance.onnx.upstream import NOT_PASSED, Case, cases

CASES = [case for case in cases("node") if case.plain]


def representatives(found: Iterable[Case]) -> set[str]:
    """Names of one case of each operator; those of an operator's definition by others are its own cases again."""
    by_operator: dict[str, list[str]] = {}
    for case in found:
        if "_expanded" not in case.name:
            by_operator.setdefault(case.operator, []).append(case.name)
    return {name for names in by_operator.values() for name in names[-1:]}


def parameters() -> Iterator[object]:
    """Each case: long if it is no representative, expected to fail if it is in the list."""
    quick = representatives(CASES)
    for case in CASES:
        marks = [] if case.name in quick else [pytest.mark.long]
        if case.name in NOT_PASSED:
            marks.append(pytest.mark.xfail(strict=True, reason=NOT_PASSED[case.name]))
        yield pytest.param(case, id=case.name.removeprefix("test_"), marks=marks)


@pytest.mark.parametrize("case", list(parameters()))
def test_operator(case: Case) -> None:
    case.run()


def test_the_list_of_what_does_not_pass_is_short_and_names_cases() -> None:
    assert NOT_PASSED.keys() <= {case.name for case in CASES}
    assert len(NOT_PASSED) <= 0.026 * len(CASES)

from collections.abc import Iterator

import pytest

from tests.conformance.programs import quick_compilation


@pytest.fixture(scope="package", autouse=True)
def compiles_quickly() -> Iterator[None]:
    with quick_compilation():
        yield

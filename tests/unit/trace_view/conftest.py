from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.unit.trace_view.page_script import PageScript


@pytest.fixture(scope="package")
def script() -> Iterator[PageScript]:
    """The page's scripts, as a browser would run them."""
    script = PageScript()
    yield script
    script.close()

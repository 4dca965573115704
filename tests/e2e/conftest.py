from __future__ import annotations

from collections.abc import Iterator

import pytest

import gradserve as gs


@pytest.fixture(scope="session")
def client() -> Iterator[gs.Client]:
    """A client of a real server with a worker process, shared by the tests of this folder."""
    with gs.local() as client:
        yield client


@pytest.fixture(scope="session")
def client_in_process() -> Iterator[gs.Client]:
    """A client of a real server that computes in its own process."""
    with gs.local(isolation="none") as client:
        yield client

"""Settings: by flag and by variable, frozen, and refused where they make no sense."""

from __future__ import annotations

import pytest
from pydantic import ValidationError
from pydantic_settings import CliApp

from gradserve_server.common.config import Settings


def test_a_flag_wins_over_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADSERVE_MAX_NODES", "5")
    monkeypatch.setenv("GRADSERVE_THREADS", "6")
    settings = CliApp.run(Settings, cli_args=["--max-nodes", "7"])
    assert (settings.max_nodes, settings.threads) == (7, 6)


def test_settings_do_not_change() -> None:
    with pytest.raises(ValidationError):
        Settings().threads = 3  # type: ignore[misc]


@pytest.mark.parametrize("address", ["", "127.0.0.1:0", ":9464", "[::1]:9464", "metrics.local:65535"])
def test_an_address_for_metrics_is_host_and_port_or_empty(address: str) -> None:
    assert Settings(metrics_address=address).metrics_address == address


@pytest.mark.parametrize("address", ["nonsense", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:-1", "h:9x"])
def test_other_addresses_for_metrics_are_refused(address: str) -> None:
    with pytest.raises(ValidationError, match="host:port"):
        Settings(metrics_address=address)


@pytest.mark.parametrize(
    "wrong",
    [
        {"threads": 0},
        {"memory_budget": 1},
        {"drain_seconds": -1},
        {"isolation": "container"},
        {"max_message_bytes": 1 << 31},
    ],
)
def test_values_out_of_bounds_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Settings(**wrong)  # type: ignore[arg-type]

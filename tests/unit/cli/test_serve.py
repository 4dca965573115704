"""`gradserve serve` hands over untouched, and says what is missing where it cannot."""

from importlib.metadata import EntryPoint, EntryPoints

import pytest

from gradserve.cli import main, serve

received: list[list[str]] = []


def command(given: list[str]) -> int:
    """Stands at the other end of an entry point."""
    received.append(given)
    return 7


def _found(monkeypatch: pytest.MonkeyPatch, *values: str) -> None:
    points = [EntryPoint("serve", value, serve.GROUP) for value in values]
    monkeypatch.setattr(serve, "entry_points", lambda **of: EntryPoints(points).select(**of))


def test_arguments_and_exit_code_pass_through(monkeypatch: pytest.MonkeyPatch) -> None:
    _found(monkeypatch, f"{__name__}:command")
    words = ["--help", "--address", "127.0.0.1:1", "--", "-x"]
    received.clear()
    assert main(["serve", *words]) == 7
    assert received == [words]


@pytest.mark.parametrize("values", [(), ("a_package_that_is_not_there.app:main",)])
def test_a_missing_server_is_one_line_that_names_the_extra(
    values: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _found(monkeypatch, *values)
    assert main(["serve"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "pip install 'gradserve[server]'" in line


def test_a_fault_of_our_own_is_not_taken_for_a_missing_extra(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _found(monkeypatch, "gradserve.no_such_module:main")
    with pytest.raises(ModuleNotFoundError):
        main(["serve"])

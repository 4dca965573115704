"""What is shown: readable without a terminal, in ASCII, in few columns and without colour."""

import io
import re
import sys

import numpy as np
import pytest
from rich.console import Console

import gradserve as gs
from gradserve.cli import main, problems, terminal
from gradserve.demo.screen import Screen, picture
from gradserve.demo.training import Step

ESCAPE = re.compile("\x1b")


def _plain(encoding: str = "utf-8", width: int = 80) -> tuple[Console, io.BytesIO]:
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding=encoding, write_through=True)
    return Console(file=file, width=width, highlight=False), raw


def _error() -> gs.GradserveError:
    return gs.InvalidRequest(
        "batch.x: wrong shape: given [2, 3], expected [batch, 64]. Flatten the images.",
        reason="SHAPE_MISMATCH",
        code="INVALID_ARGUMENT",
        field="batch.x",
        node="dense_1",
        given="[2, 3]",
        expected="[batch, 64]",
        hint="Flatten the images.",
    )


def test_an_error_shows_every_fact_once_and_as_it_is() -> None:
    console, raw = _plain()
    problems.show(_error(), console)
    shown = raw.getvalue().decode()
    assert not ESCAPE.search(shown)
    for fact in ("SHAPE_MISMATCH", "wrong shape", "batch.x", "dense_1", "[2, 3]", "[batch, 64]"):
        assert shown.count(fact) == 1, fact
    assert shown.count("Flatten the images.") == 1


def test_an_error_without_details_shows_its_whole_message() -> None:
    console, raw = _plain()
    problems.show(gs.Unavailable("nobody answers at 127.0.0.1:1"), console)
    shown = raw.getvalue().decode()
    assert "Unavailable" in shown
    assert "nobody answers at 127.0.0.1:1" in shown


@pytest.mark.parametrize("width", [20, 40, 200])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    console, raw = _plain(width=width)
    problems.show(_error(), console)
    assert max(map(len, raw.getvalue().decode().splitlines())) <= width


def test_a_terminal_that_knows_only_ascii_gets_only_ascii() -> None:
    console, raw = _plain(encoding="ascii")
    with Screen(console) as screen:
        screen.say("working")
        screen.heading("Part 1")
        screen.show(terminal.tick(True, console), terminal.tick(False, console))
        screen.show(picture(np.linspace(0, 1, 64, dtype=np.float32).reshape(1, 8, 8, 1), console))
        with screen.bar("training", 2) as bar:
            screen.say("compiling")
            bar.step(Step(1, 0.5, 0.001))
            bar.step(Step(2, 0.25, 0.001))
    problems.show(_error(), console)
    shown = raw.getvalue().decode("ascii")
    assert "2/2" in shown
    assert "loss 0.2500" in shown
    assert not ESCAPE.search(shown)


def test_activity_is_one_plain_line_each_where_there_is_no_terminal() -> None:
    console, raw = _plain()
    with terminal.Activity(console) as activity:
        activity.say("first")
        activity.say("[second]")
    assert raw.getvalue().decode() == "first ...\n[second] ...\n"


def test_activity_on_a_terminal_leaves_nothing_behind() -> None:
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, width=80)
    with terminal.Activity(console) as activity:
        activity.say("working")
        activity.say("still working")
    assert "working" in file.getvalue()
    assert file.getvalue().endswith("\x1b[2K")


def test_durations_counts_and_shapes_read_well() -> None:
    assert terminal.seconds(0.0021) == "2.10 ms"
    assert terminal.seconds(12.5) == "12.50 s"
    assert (terminal.count(1, "parameter"), terminal.count(1234, "parameter")) == (
        "1 parameter",
        "1,234 parameters",
    )
    assert (terminal.shape(()), terminal.shape(("batch", 64))) == ("[]", "[batch, 64]")


def test_a_command_that_needs_rich_names_the_extra(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "rich.console", None)
    assert main(["demo"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "pip install 'gradserve[cli]'" in line

"""What the pages for people name exists, and code that they quote is that of the sources."""

import dataclasses
import re
from pathlib import Path

import pytest

from gradserve_server.compute.frontends.graph.call import Call

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), ROOT / "deploy" / "README.md"])
ADDING = (ROOT / "docs" / "adding-an-operation.md").read_text()

pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


@pages
def test_links_lead_to_files(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text())
    local = [one for one in targets if "://" not in one]
    assert [one for one in local if not (page.parent / one).exists()] == []


@pages
def test_paths_lead_to_files(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    paths = re.findall(r"`((?:client|server|tests|docs|protos|tools|deploy)/[\w./-]+)`", text)
    assert [one for one in paths if not (ROOT / one).exists()] == []


def test_both_edits_are_those_of_the_sources() -> None:
    """Each block stands in the file that was named before it."""
    blocks = list(re.finditer(r"```(?:python|text)\n(.*?)```", ADDING, flags=re.DOTALL))
    assert len(blocks) == 2
    for block in blocks:
        named = re.findall(r"`((?:server|tests)/[\w./]+\.py)`", ADDING[: block.start()])[-1]
        assert block.group(1) in (ROOT / named).read_text()


def test_what_an_operation_asks_for_is_there() -> None:
    names = re.findall(r"call\.(\w+)(?:\(\))?`", ADDING.replace("/call.py", ""))
    assert sorted(names) == ["array", "attributes", "axis", "floating", "parameter", "refuse"]
    members = {*dir(Call), *(field.name for field in dataclasses.fields(Call))}
    assert set(names) <= members

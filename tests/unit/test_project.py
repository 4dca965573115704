"""What the project promises about itself: few dependencies, and a contract that explains every call."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from gradserve_server.common.errors import Reason

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
SERVICES = sorted((ROOT / "protos/gradserve/v1").glob("*_service.proto"))
CODES = {
    "ABORTED",
    "CANCELLED",
    "DEADLINE_EXCEEDED",
    "FAILED_PRECONDITION",
    "INTERNAL",
    "INVALID_ARGUMENT",
    "RESOURCE_EXHAUSTED",
    "UNAVAILABLE",
    "UNIMPLEMENTED",
}


def names(requirements: list[str]) -> set[str]:
    return {re.split(r"[\[<>=!~ ]", one)[0].lower().replace("_", "-") for one in requirements}


def test_the_client_needs_no_more_than_it_may() -> None:
    assert names(PROJECT["dependencies"]) == {
        "grpcio",
        "grpcio-status",
        "protobuf",
        "numpy",
        "ml-dtypes",
        "safetensors",
    }


def test_the_heavy_libraries_come_with_the_server_alone() -> None:
    extras = {name: names(some) for name, some in PROJECT["optional-dependencies"].items()}
    assert {"jax", "onnx", "optax", "msgspec", "pydantic-settings"} <= extras["server"]
    assert extras["cli"].isdisjoint(extras["server"])
    assert "gradserve" in extras["cuda"]


def test_stubs_run_on_the_oldest_libraries_that_are_allowed() -> None:
    stub = (ROOT / "client/gradserve/v1/gradient_service_pb2_grpc.py").read_text()
    (generated,) = re.findall(r"GRPC_GENERATED_VERSION = '(\d+\.\d+)", stub)
    (allowed,) = [one for one in PROJECT["dependencies"] if one.startswith("grpcio>=")]
    assert allowed == f"grpcio>={generated}"
    messages = (ROOT / "client/gradserve/v1/gradient_service_pb2.py").read_text()
    (generated,) = re.findall(r"# Protobuf Python Version: (\d+\.\d+)", messages)
    (allowed,) = [one for one in PROJECT["dependencies"] if one.startswith("protobuf>=")]
    assert allowed == f"protobuf>={generated}"


def calls() -> list[tuple[str, str]]:
    """Every call of the contract with the comment above it."""
    pattern = re.compile(r"((?:^  //.*\n)+)  rpc (\w+)\(", re.MULTILINE)
    return [(name, text) for path in SERVICES for text, name in pattern.findall(path.read_text())]


def test_every_call_has_a_comment() -> None:
    declared = [name for path in SERVICES for name in re.findall(r"^  rpc (\w+)", path.read_text(), re.MULTILINE)]
    assert [name for name, _ in calls()] == declared


@pytest.mark.parametrize(("name", "comment"), calls(), ids=[name for name, _ in calls()])
def test_every_call_tells_its_effect_limits_and_errors(name: str, comment: str) -> None:
    for part in ("Effect: ", "Limits: ", "Errors: "):
        assert f"// {part}" in comment, f"{name} does not tell its {part}"


@pytest.mark.parametrize("path", SERVICES, ids=lambda path: path.stem)
def test_codes_and_reasons_in_comments_are_those_of_the_catalogue(path: Path) -> None:
    comments = " ".join(re.findall(r"//(.*)", path.read_text().partition("message ")[0]))
    words = set(re.findall(r"\b[A-Z]+(?:_[A-Z]+)*\b", comments))
    # Words without an underscore may be anything: JSON, SHA.
    assert {one for one in words if "_" in one} <= CODES | set(Reason.__members__)


def test_a_makefile_verb_explains_itself() -> None:
    makefile = (ROOT / "Makefile").read_text()
    (phony,) = re.findall(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    explained = re.findall(r"^([a-z-]+):.*## ", makefile, re.MULTILINE)
    assert {"demo", "test", "test-long", "lint", "format", "protos", "bench", "serve", "clean"} <= set(explained)
    assert set(explained) <= set(phony.split())

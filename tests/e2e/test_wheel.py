"""The wheel as a stranger gets it: in an environment of its own, with the base dependencies alone."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROBE = """
import sys
import gradserve as gs
net = gs.sequential(gs.dense(4), gs.relu(), x=("batch", 8))
assert net.to_bytes()
never = {"gradserve_server", "jax", "jaxlib", "msgspec", "onnx", "optax", "prometheus_client", "pydantic"}
never |= {"matplotlib", "rich"}
assert never.isdisjoint(sys.modules), never & set(sys.modules)
try:
    with gs.local():
        pass
except gs.MissingExtra as error:
    print(error)
"""


def run(*command: str | Path, folder: Path) -> str:
    # Nothing of this checkout or of the environment under test may be found by accident.
    variables = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "build", "--wheel", "--outdir", folder, ROOT, folder=folder)
    (built,) = folder.glob("gradserve-*.whl")
    return built


def test_the_wheel_holds_client_and_server_and_no_tests(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    folders = {name.partition("/")[0] for name in names}
    assert {"gradserve", "gradserve_server"} <= folders
    assert all(folder.startswith("gradserve") for folder in folders)
    assert {"gradserve/py.typed", "gradserve/v1/tensor_pb2.pyi", "gradserve/trace_view/page/page.html"} <= set(names)


def test_import_from_the_wheel_loads_nothing_heavy(wheel: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "clean", with_pip=True)
    python = tmp_path / "clean/bin/python"
    pip = ("-m", "pip", "--disable-pip-version-check", "--quiet")
    run(python, *pip, "install", "--no-compile", wheel, folder=tmp_path)
    message = run(python, "-W", "error", "-c", PROBE, folder=tmp_path)
    assert "pip install 'gradserve[server]'" in message
    run(python, *pip, "check", folder=tmp_path)
    assert "serve" in run(tmp_path / "clean/bin/gradserve", "--help", folder=tmp_path)

"""The public names are the list of `gradserve.__all__`, and the import stays small."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import gradserve as gs


def test_every_listed_name_exists_and_the_list_is_sorted():
    assert [name for name in gs.__all__ if not hasattr(gs, name)] == []
    assert gs.__all__ == sorted(gs.__all__)


def test_every_public_name_is_listed():
    code = "import gradserve as gs; print(*vars(gs))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    submodules = {path.stem for path in Path(gs.__file__).parent.iterdir()}
    public = {name for name in out.stdout.split() if not name.startswith("_") and name not in submodules}
    assert public <= set(gs.__all__)


def test_public_functions_and_classes_have_docstrings():
    names = [name for name in gs.__all__ if name not in ("__version__", "Weights")]
    assert [name for name in names if not getattr(gs, name).__doc__] == []


def test_no_public_name_is_a_module():
    kinds = {name: type(getattr(gs, name)).__name__ for name in gs.__all__}
    assert [name for name, kind in kinds.items() if kind == "module"] == []


def test_the_version_is_the_distribution_s():
    pyproject = Path(__file__).parents[3] / "pyproject.toml"
    assert gs.__version__ == tomllib.loads(pyproject.read_text())["project"]["version"]
    assert re.fullmatch(r"\d+\.\d+\.\d+.*", gs.__version__)


def test_importing_the_package_loads_no_framework_and_messages_load_no_grpc():
    code = (
        "import sys, gradserve, gradserve.v1.network_pb2\n"
        "print([m for m in ('grpc', 'jax', 'onnx', 'gradserve_server') if m in sys.modules])\n"
        "gradserve.Client, gradserve.AsyncClient, gradserve.local\n"
        "print([m for m in ('jax', 'onnx', 'gradserve_server') if m in sys.modules])\n"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.split("\n")[:2] == ["[]", "[]"]


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="nothing_of_this_name"):
        _ = gs.nothing_of_this_name

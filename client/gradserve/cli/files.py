"""Files that arguments name; one that cannot be used is a UsageError that says why."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

import gradserve as gs
from gradserve.cli.usage import UsageError

SEED = "seed:"
T = TypeVar("T")


def network(path: Path) -> gs.Network:
    """A network: .json or .binpb, .onnx, .stablehlo."""
    return _read("--network", path, gs.load)


def loss(path: Path) -> gs.Loss:
    """A loss, .json or .binpb."""
    return _read("--loss", path, gs.load_loss)


def weights(text: str | None) -> Mapping[str, NDArray[Any]] | gs.Seeded | None:
    """A safetensors file, "seed:N" for fresh weights, or None for the network's own."""
    if text is None:
        return None
    if text.startswith(SEED):
        try:
            return gs.seeded(int(text.removeprefix(SEED)))
        except ValueError:
            raise UsageError(f"--weights {text}: expected seed:N with a whole number N") from None
    return _read("--weights", Path(text), gs.load_weights)


def batch(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of an .npz file by name; never unpickles."""
    return _read("--batch", path, _arrays)


def _arrays(path: Path) -> dict[str, NDArray[Any]]:
    with path.open("rb") as file:
        if not zipfile.is_zipfile(file):
            raise ValueError("not an .npz file, as numpy.savez writes them")
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def _read(option: str, path: Path, reader: Callable[[Path], T]) -> T:
    try:
        return reader(path)
    except OSError as error:
        raise UsageError(f"{option} {path}: {error.strerror or error}") from error
    except (ValueError, zipfile.BadZipFile) as error:
        said = " ".join(str(error).split())  # protobuf's messages have several lines
        raise UsageError(f"{option} {path}: {said.removeprefix(f'{path}: ')}") from error

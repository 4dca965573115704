"""What the README says, done in its order: but for PyTorch, whose export `test_torch_models` has as files."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradserve as gs
from gradserve.cli import main

README = (Path(__file__).parents[2] / "README.md").read_text("utf-8")
SNIPPETS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def test_its_snippets_run_in_their_order(
    client: gs.Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(gs, "local", lambda: client)
    np.random.seed(0)
    known: dict[str, Any] = {}
    first, explained, of_torch, of_jax, files = SNIPPETS
    assert "import torch" in of_torch
    exec(first, known)
    assert known["result"].loss > 0
    exec(explained, known)
    assert "healthy" in capsys.readouterr().out.lower()
    assert (tmp_path / "trace.html").stat().st_size > 10_000
    exec(of_jax, known)
    x, y = known["x"], known["y"]

    def loss(weights: Any) -> jax.Array:
        logits = jax.nn.relu(x @ weights["hidden"]) @ weights["out"]
        return -jnp.take_along_axis(jax.nn.log_softmax(logits), y[:, None], axis=1).mean()

    value, wanted = jax.jit(jax.value_and_grad(loss))(known["weights"])
    np.testing.assert_allclose(known["result"].loss, value, rtol=1e-5)
    for name, one in wanted.items():
        np.testing.assert_allclose(known["result"].gradients[name], one, rtol=1e-3, atol=1e-5)
    exec(files, known)
    (command,) = re.findall(r"^\$ gradserve (grad .*)$", README, re.MULTILINE)
    assert main([*shlex.split(command), "--address", client.address]) == 0
    assert set(gs.load_weights("gradients.safetensors")) == {
        f"dense_{layer}/{of}" for layer in (1, 2) for of in ("kernel", "bias")
    }

"""`gradserve grad` and `gradserve describe` as a shell runs them, against real servers."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import gradserve as gs
from gradserve.demo import worked_example

GRADSERVE = [sys.executable, "-m", "gradserve.cli"]
EXPECTED = {row.name: row.value for row in worked_example.by_hand(worked_example.Numbers())}


def _shell(*words: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*GRADSERVE, *map(str, words)],
        capture_output=True,
        text=True,
        timeout=60,
        env=os.environ | {"COLUMNS": "100"} | variables,
    )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server that `gradserve serve` started and SIGTERM stops."""
    at = f"127.0.0.1:{_free_port()}"
    log = tmp_path_factory.mktemp("serve") / "log"
    with log.open("wb") as sink:
        server = subprocess.Popen([*GRADSERVE, "serve", "--address", at], stdout=sink, stderr=subprocess.STDOUT)
        try:
            _wait(at, server, log)
            yield at
        finally:
            server.send_signal(signal.SIGTERM)
            try:
                assert server.wait(20) == 0, log.read_text()
            except subprocess.TimeoutExpired:
                server.kill()
                raise


def _wait(at: str, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 40
    with gs.Client(at) as client:
        while True:
            assert server.poll() is None, log.read_text()
            try:
                client.server_info()
            except gs.Unavailable:
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.2)
            else:
                return


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The worked example as files."""
    folder = tmp_path_factory.mktemp("files")
    given = worked_example.Numbers()
    gs.save(worked_example.network(), folder / "network.json")
    (folder / "loss.json").write_text(json.dumps({"binary_cross_entropy": {"prediction": "y", "target": "target"}}))
    weights = {name: np.array(getattr(given, name)) for name in ("w1", "b1", "w2", "b2")}
    gs.save_weights(weights, folder / "weights.safetensors")
    np.savez(folder / "batch.npz", x=np.array([given.x]), target=np.array([1.0]))
    np.savez(folder / "wrong.npz", x=np.zeros((2, 3)), target=np.array([1.0]))
    return folder


def _grad(files: Path, output: Path, batch: str = "batch.npz") -> list[str | Path]:
    return [
        *("grad", "--network", files / "network.json", "--loss", files / "loss.json"),
        *("--weights", files / "weights.safetensors", "--batch", files / batch),
        *("--output", output),
    ]


def _assert_worked_out(output: Path) -> None:
    gradients = gs.load_weights(output)
    assert sorted(gradients) == ["b1", "b2", "w1", "w2", "x"]
    for name, array in gradients.items():
        assert array.dtype == np.float64
        assert array.item() == pytest.approx(EXPECTED[f"dL/d{name}"], abs=1e-6)


def test_grad_writes_gradients_and_prints_a_summary(address: str, files: Path, tmp_path: Path) -> None:
    output = tmp_path / "gradients.safetensors"
    done = _shell(*_grad(files, output), "--inputs", "x", "--address", address)
    assert done.returncode == 0, done.stderr
    _assert_worked_out(output)
    shown = done.stdout
    assert "0.46285625" in shown
    assert all(word in shown for word in ("global norm", "queue", "compile", "execute", "w2"))
    assert "\x1b" not in shown + done.stderr
    assert "Compiling" in done.stderr


def test_grad_without_an_address_starts_a_server_and_gives_json(files: Path, tmp_path: Path) -> None:
    output = tmp_path / "gradients.safetensors"
    done = _shell(*_grad(files, output), "--inputs", "x", "--json")
    assert done.returncode == 0, done.stderr
    _assert_worked_out(output)
    summary = json.loads(done.stdout)
    assert summary["loss"] == pytest.approx(EXPECTED["L"], abs=1e-6)
    of_parameters = [EXPECTED[f"dL/d{name}"] for name in ("w1", "b1", "w2", "b2")]
    assert summary["global_norm"] == pytest.approx(np.linalg.norm(of_parameters), abs=1e-6)
    assert summary["finite"] is True
    of = {one["name"]: one["of"] for one in summary["gradients"]}
    assert of == {"b1": "parameter", "b2": "parameter", "w1": "parameter"} | {
        "w2": "parameter",
        "x": "input",
    }
    assert summary["seconds"]["compile"] > 0
    assert "Starting a local server" in done.stderr


def test_grad_selects_clips_and_starts_from_a_seed(address: str, files: Path, tmp_path: Path) -> None:
    output = tmp_path / "gradients.safetensors"
    words = _grad(files, output)
    words[words.index("--weights") + 1] = "seed:0"
    limits = ("--parameters", "*", "!w*", "--clip-global-norm", "0.01")
    done = _shell(*words, *limits, "--address", address)
    assert done.returncode == 0, done.stderr
    gradients = gs.load_weights(output)
    assert sorted(gradients) == ["b1", "b2"]
    norm = np.sqrt(sum(np.square(array).sum() for array in gradients.values()))
    assert norm == pytest.approx(0.01, rel=1e-5)


def test_what_the_server_refuses_is_a_panel_with_its_place_and_ends_with_1(
    address: str, files: Path, tmp_path: Path
) -> None:
    output = tmp_path / "gradients.safetensors"
    done = _shell(*_grad(files, output, "wrong.npz"), "--address", address)
    assert done.returncode == 1
    assert done.stdout == ""
    assert not output.exists()
    assert all(word in done.stderr for word in ("batch.x", "given", "expected", "[2, 3]"))
    assert "Traceback" not in done.stderr
    assert "\x1b" not in done.stderr


def _trace(files: Path, folder: Path) -> list[str | Path]:
    return [
        *("trace", "--network", files / "network.json", "--loss", files / "loss.json"),
        *("--weights", files / "weights.safetensors", "--batch", files / "batch.npz"),
        *("--page", folder / "trace.html", "--plot", folder / "trace.png"),
    ]


def test_trace_prints_the_table_and_writes_plot_and_page(address: str, files: Path, tmp_path: Path) -> None:
    done = _shell(*_trace(files, tmp_path), "--address", address)
    assert done.returncode == 0, done.stderr
    for word in ("w1", "parameter", "-0.22231", "0.629483", "dL/dz2 = dL/dy", "0.462856254", "Healthy"):
        assert word in done.stdout
    assert (tmp_path / "trace.png").read_bytes().startswith(b"\x89PNG")
    page = (tmp_path / "trace.html").read_text(encoding="utf-8")
    (held,) = re.findall(r'<script type="application/json" id="trace">(.*?)</script>', page, re.DOTALL)
    gradients = {one["name"]: one["gradient"]["mean"] for one in json.loads(held)["values"] if one["gradient"]}
    for name in ("x", "w1", "b1", "z1", "h1", "w2", "b2", "z2"):
        assert gradients[name] == pytest.approx(EXPECTED.get(f"dL/d{name}", gradients[name]), abs=1e-6)
    assert gradients["loss"] == 1


def test_trace_gives_json_of_the_values_that_were_asked_for(address: str, files: Path, tmp_path: Path) -> None:
    done = _shell(*_trace(files, tmp_path), "--address", address, "--names", "w*", "!w2*", "--json")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert {one["name"] for one in said["values"]} <= {"w1", "w1x"}
    assert said["loss"] == pytest.approx(EXPECTED["L"], abs=1e-6)
    assert said["page"] == str(tmp_path / "trace.html")


def test_nobody_at_the_address_ends_with_1(files: Path, tmp_path: Path) -> None:
    words = _grad(files, tmp_path / "gradients.safetensors")
    done = _shell(*words, "--address", f"127.0.0.1:{_free_port()}", "--timeout", "2")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "127.0.0.1" in done.stderr


def test_an_output_that_cannot_be_written_ends_with_2(address: str, files: Path, tmp_path: Path) -> None:
    done = _shell(*_grad(files, tmp_path), "--address", address)
    assert done.returncode == 2
    done = _shell(*_grad(files, tmp_path / "none" / "g.safetensors"), "--address", address)
    assert done.returncode == 2


def test_describe_shows_forms_counts_and_cost(address: str, tmp_path: Path) -> None:
    network = tmp_path / "network.json"
    gs.save(gs.sequential(gs.dense(16), gs.relu(), gs.dense(10), x=("batch", 64)), network)
    done = _shell("describe", "--network", network, "--address", address)
    assert done.returncode == 0, done.stderr
    for fact in ("dense_1/kernel", "[64, 16]", "[batch, 64]", "1,210 parameters"):
        assert fact in done.stdout

    words = ("describe", "--network", network, "--dimension", "batch=32", "--json")
    done = _shell(*words, "--address", address)
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert facts["parameter_count"] == 64 * 16 + 16 + 16 * 10 + 10
    forward = 2 * 32 * (64 * 16 + 16 * 10)
    assert forward * 2 < facts["flops"] < forward * 4
    assert facts["memory"][0]["peak_bytes"] > 4 * 1210
    assert facts["inputs"] == [{"name": "x", "data_type": "float32", "shape": ["batch", 64]}]


def test_colour_comes_only_where_it_is_wanted(address: str, tmp_path: Path) -> None:
    network = tmp_path / "network.json"
    gs.save(gs.sequential(gs.dense(1), x=("batch", 2)), network)
    words = ("describe", "--network", network, "--address", address)
    assert "\x1b[" in _shell(*words, FORCE_COLOR="1").stdout
    assert "\x1b[3" not in _shell(*words, FORCE_COLOR="1", NO_COLOR="1").stdout


def test_serve_help_is_the_servers_own() -> None:
    done = _shell("serve", "--help")
    assert done.returncode == 0, done.stderr
    assert "--address" in done.stdout
    assert "--metrics-address" in done.stdout.replace("_", "-")

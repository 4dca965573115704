"""What the command line takes, refuses, and makes of it."""

import json
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import gradserve as gs
from gradserve.cli import arguments, main


def _words(line: str) -> list[str]:
    return shlex.split(line)


GRAD = _words("grad --network n.json --weights seed:0 --batch b.npz --loss l.json")


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["--version"])
    assert stop.value.code == 0
    assert capsys.readouterr().out == f"gradserve {gs.__version__}\n"


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["--help"])
    assert stop.value.code == 0
    shown = capsys.readouterr().out
    assert all(command in shown for command in ("serve", "demo", "grad", "trace", "describe"))


def test_grad_takes_its_options() -> None:
    more = _words(
        "--parameters * !head/* --inputs x --mode training --seed 7 --clip-global-norm 1.5 "
        "--timeout 30 --address 127.0.0.1:1 --json"
    )
    options = arguments.parser().parse_args([*GRAD, *more])
    assert options.network == Path("n.json")
    assert options.output == Path("gradients.safetensors")
    assert options.parameters == ["*", "!head/*"]
    assert (options.inputs, options.mode, options.seed) == (["x"], "training", 7)
    assert (options.clip_global_norm, options.timeout, options.json) == (1.5, 30.0, True)


def test_trace_takes_what_grad_takes_and_where_to_write() -> None:
    more = _words("--names h* --page p.html --plot p.svg --whole-tensors-up-to 9 --all --mode inference --seed 3")
    options = arguments.parser().parse_args(["trace", *GRAD[1:], *more])
    assert (options.network, options.page, options.plot) == (Path("n.json"), Path("p.html"), Path("p.svg"))
    assert (options.names, options.whole_tensors_up_to, options.all) == (["h*"], 9, True)
    assert (options.mode, options.seed) == ("inference", 3)
    options = arguments.parser().parse_args(["trace", *GRAD[1:]])
    assert (options.page, options.plot) == (Path("trace.html"), Path("trace.png"))


def test_describe_takes_dimensions() -> None:
    options = arguments.parser().parse_args(
        ["describe", "--network", "n.json", "--dimension", "batch=32", "--dimension", "time=8"]
    )
    assert dict(options.dimension) == {"batch": 32, "time": 8}


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["unknown"],
        ["grad"],
        GRAD[:-2],
        [*GRAD, "--mode", "sleeping"],
        [*GRAD, "--clip-global-norm", "-1"],
        [*GRAD, "--timeout", "nan"],
        [*GRAD, "--seed", "x"],
        ["describe", "--network", "n.json", "--dimension", "batch"],
        ["describe", "--network", "n.json", "--dimension", "batch=0"],
        ["describe", "--network", "n.json", "--dimension", "=3"],
        ["trace"],
        ["trace", *GRAD[1:], "--whole-tensors-up-to", "-1"],
        ["demo", "--part", "4"],
    ],
    ids=" ".join,
)
def test_wrong_usage_ends_with_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(words)
    assert stop.value.code == 2
    assert "usage: gradserve" in capsys.readouterr().err


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Files of a request that can be read, one of each kind."""
    gs.save(gs.sequential(gs.dense(1), x=("batch", 2)), tmp_path / "network.json")
    (tmp_path / "loss.json").write_text(json.dumps({"output": {}}))
    np.savez(tmp_path / "batch.npz", x=np.zeros((1, 2), np.float32))
    return tmp_path


@pytest.mark.parametrize(
    ("option", "content", "says"),
    [
        ("network", None, "No such file"),
        ("network", b"{", ""),
        ("network", b'{"nodez": []}', "nodez"),
        ("loss", None, "No such file"),
        ("loss", b'{"no_such_loss": {}}', "no_such_loss"),
        ("batch", None, "No such file"),
        ("batch", b"x,y\n1,2\n", ".npz"),
        ("weights", None, "No such file"),
        ("weights", b"not safetensors", ""),
    ],
)
def test_a_file_that_cannot_be_used_ends_with_2_and_one_line_that_names_it(
    folder: Path,
    option: str,
    content: bytes | None,
    says: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    files = {
        "network": folder / "network.json",
        "loss": folder / "loss.json",
        "batch": folder / "batch.npz",
        "weights": "seed:0",
    }
    broken = folder / ("broken.npz" if option == "batch" else "broken.json")
    if content is not None:
        broken.write_bytes(content)
    files[option] = broken
    words = [word for name, value in files.items() for word in (f"--{name}", str(value))]
    assert main(["grad", *words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"gradserve: error: --{option} {broken}: ")
    assert says in line


@pytest.mark.parametrize(
    ("option", "path", "says"),
    [("--page", "none/t.html", "no folder"), ("--plot", "none/t.png", "no folder"), ("--plot", "t.html", ".png")],
)
def test_a_trace_that_cannot_be_written_is_not_computed(
    folder: Path, option: str, path: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["trace", "--network", str(folder / "network.json"), "--loss", str(folder / "loss.json")]
    words += ["--batch", str(folder / "batch.npz"), "--weights", "seed:0", option, str(folder / path)]
    assert main(words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert says in line


def test_a_seed_that_is_no_number_ends_with_2(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--network", str(folder / "network.json"), "--loss", str(folder / "loss.json")]
    words += ["--batch", str(folder / "batch.npz"), "--weights", "seed:x"]
    assert main(["grad", *words]) == 2
    assert "seed:N" in capsys.readouterr().err


def test_an_npz_with_pickled_objects_is_not_opened(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.savez(folder / "objects.npz", x=np.array([{"a": 1}], dtype=object))
    words = ["--network", str(folder / "network.json"), "--loss", str(folder / "loss.json")]
    words += ["--batch", str(folder / "objects.npz"), "--weights", "seed:0"]
    assert main(["grad", *words]) == 2
    assert "allow_pickle" in capsys.readouterr().err


def test_help_loads_neither_rich_nor_jax() -> None:
    program = (
        "import sys\n"
        "from gradserve.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "loaded = {'rich', 'matplotlib', 'jax', 'onnx', 'gradserve_server'} & set(sys.modules)\n"
        "sys.exit(f'loaded: {loaded}' if loaded else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr

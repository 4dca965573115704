"""Part 3 of `gradserve demo`: a hundred layers, judged and trained."""

import re
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.long
def test_three_deep_networks_are_judged_and_two_of_them_trained(tmp_path: Path) -> None:
    folder = tmp_path / "made"
    done = subprocess.run(
        [sys.executable, "-m", "gradserve.cli", "demo", "--part", "3", "--folder", str(folder)],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    shown = done.stdout
    assert "✗" not in shown
    (verdicts,) = [line.split()[1:] for line in shown.splitlines() if line.startswith(" verdict ")]
    assert verdicts == ["Vanishing", "Exploding", "Healthy"]
    for name in ("sigmoid", "linear", "residual"):
        assert (folder / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert (folder / f"{name}.html").read_text(encoding="utf-8").startswith("<!doctype html>")
        assert f"made/{name}.html" in "".join(shown.split())
    stuck, learnt = re.findall(r"loss ([\d.]+) where gradients vanish, ([\d.]+) where", " ".join(shown.split()))[0]
    assert float(stuck) > 2.2
    assert float(learnt) < 1.7
    peaks = [float(one) for one in re.findall(r"^ *(?:off|products|blocks|sqrt) +([\d.]+) MiB", shown, re.MULTILINE)]
    assert len(peaks) == 4
    assert peaks == sorted(peaks, reverse=True)
    rows = dict(re.findall(r"^ *(float32|bfloat16|float16, .*?) +([\d.]+)%", shown, re.MULTILINE))
    assert rows["float32"] == "0.0"
    assert float(rows["float16, loss times 2^15"]) < float(rows["float16, loss not scaled"]) / 2

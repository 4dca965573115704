"""`gradserve demo` as a person runs it, without a terminal."""

import re
import subprocess
import sys
import time

from gradserve.demo.worked_example import Numbers, by_hand


def test_the_demo_explains_gradients_and_learns_digits() -> None:
    began = time.monotonic()
    parts = [
        subprocess.run(
            [sys.executable, "-m", "gradserve.cli", "demo", "--part", part],
            capture_output=True,
            text=True,
            timeout=110,
        )
        for part in ("1", "2")
    ]
    assert [done.returncode for done in parts] == [0, 0], [done.stdout + done.stderr for done in parts]
    shown = "\n".join(done.stdout for done in parts)
    assert "\x1b" not in shown + parts[0].stderr + parts[1].stderr
    assert "✗" not in shown

    # Served and by hand, to nine digits: four values, the loss, and nine gradients, each with its chain rule.
    lines = {line.split()[0]: line for line in shown.splitlines() if "✓" in line}
    rows = by_hand(Numbers())
    assert len(rows) == 14
    for row in rows:
        served, hand = (float(number) for number in lines[row.name].split()[1:3])
        assert abs(served - row.value) < 1e-6
        assert abs(hand - row.value) < 1e-6
        assert not row.name.startswith("dL/") or f"\n{row.name} = " in shown

    said = re.findall(r"^test accuracy: ([\d.]+) %", shown, re.MULTILINE)
    accuracies = [float(one) for one in said]
    assert len(accuracies) == 2
    assert min(accuracies) >= 95.0
    assert time.monotonic() - began < 100

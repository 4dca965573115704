"""`gradserve demo` as a person runs it, without a terminal."""

import re
import subprocess
import sys
import time


def test_the_demo_agrees_with_the_closed_form_and_learns_digits() -> None:
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "gradserve.cli", "demo"],
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    shown = done.stdout
    assert "\x1b" not in shown + done.stderr

    # Worked out by hand: y, the loss, and the gradients of w1, b1, w2, b2 and x.
    for number in ("0.629483", "0.462856", "-0.222310", "-0.111155", "-0.407568", "-0.370516"):
        assert len(re.findall(rf"(?<!\S){number}\d*", shown)) == 2, number  # served, closed form
    assert shown.count("-0.055577") == 2

    said = re.findall(r"^test accuracy: ([\d.]+) %", shown, re.MULTILINE)
    accuracies = [float(one) for one in said]
    assert len(accuracies) == 2
    assert min(accuracies) >= 95.0
    assert time.monotonic() - began < 100

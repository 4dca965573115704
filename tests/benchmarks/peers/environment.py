"""The peers' own environment, in build/."""

from __future__ import annotations

import functools
import subprocess
import sys
import venv
from pathlib import Path

FOLDER = Path("build/peers")
PACKAGES = ("tesseract-core[runtime]", "equinox", "umbridge", "pytensor-federated", "jax>=0.10,<0.11")


@functools.cache
def python() -> str:
    """The interpreter of the environment, which is made once.

    Raises:
        RuntimeError: it cannot be made; tells why.
    """
    found = FOLDER / "bin" / "python"
    installed = FOLDER / ".installed"
    wanted = "\n".join(PACKAGES)
    if not installed.exists() or installed.read_text() != wanted:
        print("installing the peers (once; this takes a minute)", file=sys.stderr)
        venv.create(FOLDER, with_pip=True)
        command = [str(found), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *PACKAGES]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"the peers cannot be installed: {(done.stderr.strip().splitlines() or ['?'])[-1]}")
        installed.write_text(wanted)
    return str(found)

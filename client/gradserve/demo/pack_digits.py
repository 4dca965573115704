"""Shows how digits.npz was made: `python pack_digits.py digits.csv.gz digits.npz`.

The source is `sklearn/datasets/data/digits.csv.gz` of scikit-learn: one image a line, 64 pixels in
0..16 and then the digit. Only the packing changes: the same numbers, in the same order.
"""

from __future__ import annotations

import gzip
import sys
from pathlib import Path

import numpy as np


def pack(source: Path, target: Path) -> None:
    """Writes `target` with `images` uint8 [n, 8, 8] and `labels` uint8 [n] from a csv.gz file."""
    with gzip.open(source, "rt", encoding="ascii") as lines:
        table = np.loadtxt(lines, delimiter=",", dtype=np.uint8)
    images, labels = table[:, :64].reshape(-1, 8, 8), table[:, 64]
    np.savez_compressed(target, images=images, labels=labels)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: python pack_digits.py DIGITS_CSV_GZ TARGET_NPZ")
    pack(Path(sys.argv[1]), Path(sys.argv[2]))

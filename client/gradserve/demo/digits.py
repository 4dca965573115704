"""Handwritten digits of UCI; origin and licence are in NOTICE.txt beside this file."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

TEST_EVERY = 5  # Every fifth image of each digit is kept for the test.


@dataclass(frozen=True)
class Digits:
    """Images float32 [n, 8, 8, 1] in [0, 1] and their labels int32 [n] in 0..9."""

    images: NDArray[np.float32]
    labels: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.labels)


def load() -> Digits:
    """All 1,797 images, in the order of the source."""
    with (files(__package__) / "digits.npz").open("rb") as file, np.load(file) as archive:
        images = archive["images"].astype(np.float32)[..., np.newaxis] / np.float32(16)
        labels = archive["labels"].astype(np.int32)
    return Digits(images, labels)


def split(digits: Digits) -> tuple[Digits, Digits]:
    """Parts to train on and to test with: every fifth image of each digit is for the test.

    The source is ordered by writer, so that both parts hold all writers; no image is in both.
    """
    for_test = np.zeros(len(digits), dtype=bool)
    for label in range(10):
        for_test[np.flatnonzero(digits.labels == label)[::TEST_EVERY]] = True
    train = Digits(digits.images[~for_test], digits.labels[~for_test])
    test = Digits(digits.images[for_test], digits.labels[for_test])
    return train, test

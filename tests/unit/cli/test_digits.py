"""The data of the demo is the published one, and its parts do not overlap."""

import hashlib
from importlib.resources import files

import numpy as np

from gradserve.demo import digits

IMAGES = "8f26b2bd9d135c256808f68f14fdabddde6d9c7f869ae419704b051f0f14b3b3"
LABELS = "8ba4f891220f5e4c9c819638d1602d74b83618f167043c6da52a2a247841ddf0"
OF_EACH_CLASS = [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]


def test_the_packed_file_holds_the_published_numbers() -> None:
    packed = files("gradserve.demo") / "digits.npz"
    assert len(packed.read_bytes()) < 60_000
    with packed.open("rb") as file, np.load(file) as archive:
        images, labels = archive["images"], archive["labels"]
    assert (str(images.dtype), images.shape, images.max()) == ("uint8", (1797, 8, 8), 16)
    assert (str(labels.dtype), labels.shape) == ("uint8", (1797,))
    assert hashlib.sha256(images.tobytes()).hexdigest() == IMAGES
    assert hashlib.sha256(labels.tobytes()).hexdigest() == LABELS
    assert np.bincount(labels).tolist() == OF_EACH_CLASS


def test_origin_and_licence_travel_with_the_data() -> None:
    notice = (files("gradserve.demo") / "NOTICE.txt").read_text(encoding="utf-8")
    for fact in ("Alpaydin", "Kaynak", "CC BY 4.0", "scikit-learn"):
        assert fact in notice


def test_images_come_as_float32_from_0_to_1() -> None:
    loaded = digits.load()
    assert loaded.images.dtype == np.float32
    assert loaded.images.shape == (1797, 8, 8, 1)
    assert (loaded.images.min(), loaded.images.max()) == (0.0, 1.0)
    assert loaded.labels.dtype == np.int32


def test_the_parts_hold_all_images_once_and_a_fifth_of_each_digit_is_for_the_test() -> None:
    loaded = digits.load()
    train, test = digits.split(loaded)
    assert (len(train), len(test)) == (1433, 364)
    assert np.bincount(test.labels).tolist() == [-(-count // 5) for count in OF_EACH_CLASS]

    def rows(part: digits.Digits) -> list[bytes]:
        return [image.tobytes() for image in part.images]

    assert sorted(rows(train) + rows(test)) == sorted(rows(loaded))
    assert not set(rows(train)) & set(rows(test))

"""The cases that the onnx package brings, run by its own runner on the program that the server runs."""

from __future__ import annotations

import dataclasses
import functools
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import onnx
from onnx import numpy_helper
from onnx.backend.test import BackendTest
from onnx.backend.test.loader import load_model_tests

from tests.conformance.onnx.backend import ServedBackend, is_plain

_RANDOM = "the result is random, and the reference draws it with NumPy's generator"
_ROUNDED = "the reference computes in single precision and differs from the exact result by more than the tolerance"
_IMAGES = "ImageDecoder is not served: decoders of image files are not for bytes from strangers"

# Of the cases with plain tensors, those that do not pass, and why.
NOT_PASSED: dict[str, str] = {
    "test_bernoulli": _RANDOM,
    "test_bernoulli_double": _RANDOM,
    "test_bernoulli_double_expanded": _RANDOM,
    "test_bernoulli_expanded": _RANDOM,
    "test_bernoulli_seed": _RANDOM,
    "test_bernoulli_seed_expanded": _RANDOM,
    "test_dft_inverse": _ROUNDED,
    "test_dft_inverse_opset19": _ROUNDED,
    "test_image_decoder_decode_bmp_rgb": _IMAGES,
    "test_image_decoder_decode_jpeg2k_rgb": _IMAGES,
    "test_image_decoder_decode_jpeg_bgr": _IMAGES,
    "test_image_decoder_decode_jpeg_grayscale": _IMAGES,
    "test_image_decoder_decode_jpeg_rgb": _IMAGES,
    "test_image_decoder_decode_png_rgb": _IMAGES,
    "test_image_decoder_decode_pnm_rgb": _IMAGES,
    "test_image_decoder_decode_tiff_rgb": _IMAGES,
    "test_image_decoder_decode_webp_rgb": _IMAGES,
    "test_training_dropout": _RANDOM,
    "test_training_dropout_default": _RANDOM,
    "test_training_dropout_default_mask": _RANDOM,
    "test_training_dropout_mask": _RANDOM,
}


@dataclasses.dataclass(frozen=True)
class Case:
    """One of the runner's tests.

    Attributes:
        name: as the onnx package calls it.
        operator: of the only node; of the first one if there are more.
        plain: whether it takes and gives tensors of types that are served, with operators of ONNX's own domain.
        run: prepares and runs the model and compares.
    """

    name: str
    operator: str
    plain: bool
    run: Callable[[], None]


@functools.cache
def _runner() -> BackendTest:
    with warnings.catch_warnings():
        # The cases are computed as they are loaded, and some divide by zero on purpose.
        warnings.simplefilter("ignore")
        return BackendTest(ServedBackend, __name__)


def cases(kind: str) -> Iterator[Case]:
    """All cases of a kind: node, simple, pytorch-converted, pytorch-operator, or real."""
    classes = _runner().test_cases
    tests = classes[f"OnnxBackend{kind.title().replace('-', '').replace('Pytorch', 'PyTorch')}ModelTest"]
    for case in load_model_tests(kind=kind):
        model = case.model or onnx.load(_path(case.model_dir, case.url))
        test = tests(f"{case.name}_cpu")
        yield Case(case.name, model.graph.node[0].op_type, is_plain(model), functools.partial(_run, test))


def _path(folder: str | None, url: str | None) -> Path:
    if folder is not None:
        return Path(folder, "model.onnx")
    assert url is not None
    return Path(onnx.__file__).parent.parent / url


def _run(test: Callable[[], None]) -> None:
    getattr(test, test.id().rpartition(".")[2])()


def single_cases() -> Iterator[tuple[str, onnx.ModelProto, list[Any], list[Any], str]]:
    """Cases of one operator with plain tensors: operator, model, inputs, outputs, name."""
    _runner()
    for case in load_model_tests(kind="node"):
        model = case.model
        if model is None or len(model.graph.node) != 1 or not is_plain(model) or not case.data_sets:
            continue
        tensors = [
            [numpy_helper.to_array(one) if isinstance(one, onnx.TensorProto) else one for one in group]
            for group in case.data_sets[0]
        ]
        yield model.graph.node[0].op_type, model, tensors[0], tensors[1], case.name

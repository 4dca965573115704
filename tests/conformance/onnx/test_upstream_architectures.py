"""Nine image classifiers that come with the onnx package: their outputs are those that it brings, their
gradients are held to finite differences."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

import gradserve as gs
from gradserve_server.common.specs import ArraySpec, Limits, NetworkSource, ProgramSpec, Selection
from gradserve_server.compute.executor import Executor
from tests.conformance.onnx.upstream import Case, cases

FOLDER = Path(onnx.__file__).parent / "backend/test/data/light"
CASES = [pytest.param(case, id=case.name.removeprefix("test_"), marks=pytest.mark.long) for case in cases("real")]


@pytest.mark.parametrize("case", CASES)
def test_outputs(case: Case, tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    # Where the runner puts what it compares.
    monkeypatch.setenv("ONNX_HOME", str(tmp_path))
    case.run()


NAMES = sorted(path.stem.removeprefix("light_") for path in FOLDER.glob("*.onnx"))
# Small enough that next to no unit crosses its kink on the way; VGG-19 has 15 million of them.
STEPS = {"vgg19": 1e-8, "zfnet512": 1e-7}


def with_weights(model: onnx.ModelProto, generator: np.random.Generator) -> dict[str, np.ndarray]:
    """Makes `model` one of doubles that takes its weights as inputs, in place of filling them with one number.

    Returns:
        Weights by name, drawn so that values neither vanish nor explode on their way.
    """
    shapes = {one.name: onnx.numpy_helper.to_array(one) for one in model.graph.initializer}
    filled = [node for node in model.graph.node if node.op_type == "ConstantOfShape"]
    weights: dict[str, np.ndarray] = {}
    # Each sum of a branch and what it goes around would double the variance, until the softmax is flat.
    gain = 1 if any(node.op_type in ("Add", "Sum") for node in model.graph.node) else 2
    for node in filled:
        shape = tuple(map(int, shapes[node.input[0]]))
        spread = np.sqrt(gain / np.prod(shape[1:])) if len(shape) > 1 else 0.0
        drawn = generator.normal(size=shape) * spread if spread else generator.uniform(0.5, 1.5, shape)
        weights[node.output[0]] = drawn
        model.graph.node.remove(node)
        model.graph.input.append(onnx.helper.make_tensor_value_info(node.output[0], onnx.TensorProto.DOUBLE, shape))
    for one in model.graph.initializer:
        if one.data_type == onnx.TensorProto.FLOAT:
            one.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(one).astype("float64"), one.name))
    for value in (*model.graph.input, *model.graph.output):
        if value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT:
            value.type.tensor_type.elem_type = onnx.TensorProto.DOUBLE
    return weights


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", NAMES)
def test_gradients_are_those_of_directional_finite_differences(name: str) -> None:
    model = onnx.load(FOLDER / f"light_{name}.onnx")
    generator = np.random.default_rng(0)
    batch = with_weights(model, generator)
    known = {one.name for one in model.graph.initializer}
    (image,) = (one for one in model.graph.input if one.name not in known | batch.keys())
    batch[image.name] = generator.uniform(size=(1, 3, 224, 224))
    selected = tuple(sorted(batch))
    (output,) = model.graph.output
    target = generator.uniform(size=[one.dim_value for one in output.type.tensor_type.shape.dim])
    spec = ProgramSpec(
        kind="gradients",
        network=NetworkSource("onnx", model.SerializeToString()),
        loss=gs.squared_error(target="target").to_bytes(),
        batch=tuple(
            ArraySpec(key, "float64", value.shape) for key, value in sorted({**batch, "target": target}.items())
        ),
        weights=(),
        own_weights=True,
        selection=Selection(inputs=selected),
        shared=selected,
    )
    executor = Executor(Limits(programs=1))
    program = executor.prepare(spec)

    def run(point: dict[str, np.ndarray]) -> tuple[float, dict[str, np.ndarray]]:
        arrays = {**point, "target": target}
        results, _ = executor.run(program.key, [arrays[one.name] for one in spec.batch], 0, 0)
        found = dict(zip([(one.group, one.array.name) for one in program.results], results, strict=True))
        numbers = dict(zip(program.numbers, found["numbers", "numbers"].tolist(), strict=True))
        return numbers["loss"], {key: found["input_gradient", key] for key in selected}

    step = STEPS.get(name, 1e-6)
    direction = {key: generator.normal(size=value.shape) * np.std(value) for key, value in batch.items()}
    _, gradients = run(batch)
    found = sum(float(np.vdot(gradients[key], direction[key])) for key in selected)
    after, before = (
        run({key: value + sign * step * direction[key] for key, value in batch.items()})[0] for sign in (1, -1)
    )
    assert sum(bool(np.any(gradients[key])) for key in selected) > 0.8 * len(selected)
    np.testing.assert_allclose(found, (after - before) / (2 * step), rtol=1e-3)

"""Makes the files in this folder: models as both of PyTorch's exporters write them, and what PyTorch computes of them.

    python -m pip install torch==2.13.0 onnxscript safetensors
    python tests/e2e/torch_models/export.py

The tests read the files and need no PyTorch. For each model there is ``NAME-old.onnx`` from the exporter that traces
(TorchScript), ``NAME-new.onnx`` from the one that captures a graph (dynamo), and ``NAME.safetensors``: the input
``x``, the output ``y``, and ``gradient/PARAMETER`` of mean(y squared) for each parameter.
"""

from __future__ import annotations

from pathlib import Path

import onnx
import torch
from safetensors.torch import save_file

FOLDER = Path(__file__).parent


class Recurrent(torch.nn.Module):
    """An LSTM over a sequence, and a layer on its last step."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = torch.nn.LSTM(4, 6, batch_first=True)
        self.out = torch.nn.Linear(6, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """X [batch, length, 4] to [batch, 3]."""
        return self.out(self.lstm(x)[0][:, -1])


class Block(torch.nn.Module):
    """A transformer's block, written out: attention with two heads, then a layer of its own for each token."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = torch.nn.Linear(8, 24)
        self.out = torch.nn.Linear(8, 8)
        self.first, self.second = torch.nn.LayerNorm(8), torch.nn.LayerNorm(8)
        self.up, self.down = torch.nn.Linear(8, 16), torch.nn.Linear(16, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """X [batch, length, 8] to the same."""
        batch, length, _ = x.shape
        parts = self.mix(self.first(x)).view(batch, length, 3, 2, 4).permute(2, 0, 3, 1, 4)
        mixed = torch.nn.functional.scaled_dot_product_attention(parts[0], parts[1], parts[2], is_causal=True)
        x = x + self.out(mixed.transpose(1, 2).reshape(batch, length, 8))
        return x + self.down(torch.nn.functional.gelu(self.up(self.second(x))))


def convolutional() -> torch.nn.Module:
    """Convolutions with batch normalization (of the statistics that it has), pooling and a layer."""
    return torch.nn.Sequential(
        torch.nn.Conv2d(2, 4, 3, padding=1),
        torch.nn.BatchNorm2d(4),
        torch.nn.ReLU(),
        torch.nn.MaxPool2d(2),
        torch.nn.Conv2d(4, 4, 3, stride=2, groups=2),
        torch.nn.SiLU(),
        torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.Flatten(),
        torch.nn.Linear(4, 3),
    )


def perceptron() -> torch.nn.Module:
    """Two layers."""
    return torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.Tanh(), torch.nn.Linear(16, 3))


def without_traces(path: Path) -> None:
    """Takes out where in whose files each node comes from."""
    model = onnx.load(path)
    for owner in (model.graph, *model.functions):
        for one in (owner, *owner.node, *owner.value_info):
            del one.metadata_props[:]
            one.doc_string = ""
    for one in (*model.graph.initializer, *model.graph.input, *model.graph.output, model):
        del one.metadata_props[:]
        one.doc_string = ""
    onnx.save(model, path)


def main() -> None:
    """Writes all files."""
    for name, build, shape in (
        ("perceptron", perceptron, (5, 8)),
        ("convolutional", convolutional, (3, 2, 9, 9)),
        ("recurrent", Recurrent, (3, 5, 4)),
        ("block", Block, (2, 5, 8)),
    ):
        torch.manual_seed(0)
        model = build().eval()
        with torch.no_grad():
            # The exporters make one of two tensors that are equal.
            for one in (*model.parameters(), *model.buffers()):
                if one.is_floating_point():
                    one.add_(torch.rand_like(one) / 4)
        x = torch.randn(shape)
        y = model(x)
        y.square().mean().backward()
        found = {f"gradient/{key}": value.grad for key, value in model.named_parameters()}
        save_file({"x": x, "y": y.detach(), **found}, FOLDER / f"{name}.safetensors")
        names = {"input_names": ["x"], "output_names": ["y"]}
        batch = torch.export.Dim("batch")
        old, new = FOLDER / f"{name}-old.onnx", FOLDER / f"{name}-new.onnx"
        torch.onnx.export(
            model, (x,), old, dynamo=False, do_constant_folding=False, dynamic_axes={"x": {0: "batch"}}, **names
        )
        torch.onnx.export(
            model, (x,), new, dynamo=True, external_data=False, dynamic_shapes=({0: batch},), verbose=False, **names
        )
        without_traces(old)
        without_traces(new)


if __name__ == "__main__":
    main()

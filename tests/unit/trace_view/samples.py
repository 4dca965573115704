"""Traces built by hand, as a server would answer them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

import gradserve as gs
from gradserve.tensors import Array, to_data_type, to_tensor
from gradserve.traces import read_trace
from gradserve.v1 import gradient_service_pb2 as service_pb2

Flow = service_pb2.GradientFlow
WHOLE_UP_TO = 32


def statistics(array: Array) -> service_pb2.TensorStatistics:
    """What NumPy says of an array."""
    wide = array.astype(np.float64)
    finite = wide[np.isfinite(wide)]
    scale = float(np.abs(finite).max()) or 1.0  # Squares of scaled numbers do not overflow.
    size = scale * float(np.linalg.norm(finite / scale))
    return service_pb2.TensorStatistics(
        data_type=to_data_type(array.dtype),
        shape=array.shape,
        mean=float(finite.mean()),
        standard_deviation=scale * float((finite / scale).std()),
        minimum=float(finite.min()),
        maximum=float(finite.max()),
        norm=size,
        root_mean_square=size / math.sqrt(finite.size),
        zero_fraction=float(np.mean(wide == 0.0)),
        non_finite=int(np.sum(~np.isfinite(wide))),
    )


def value(
    name: str, operation: str, inputs: Sequence[str], forward: Array, gradient: Array | None, chain_rule: str = ""
) -> service_pb2.TracedValue:
    made = service_pb2.TracedValue(
        name=name, operation=operation, inputs=inputs, value=statistics(forward), chain_rule=chain_rule
    )
    if forward.size <= WHOLE_UP_TO:
        made.value_tensor.CopyFrom(to_tensor(forward, name))
    if gradient is not None:
        made.gradient.CopyFrom(statistics(gradient))
        if gradient.size <= WHOLE_UP_TO:
            made.gradient_tensor.CopyFrom(to_tensor(gradient, name))
    return made


def trace(
    loss: float, values: Sequence[service_pb2.TracedValue], flow: service_pb2.GradientFlow | None = None
) -> gs.TraceResult:
    answer = service_pb2.TraceResponse(loss=loss, values=values, flow=flow or Flow(verdict=Flow.VERDICT_HEALTHY))
    return read_trace(answer.SerializeToString())


def worked_example() -> gs.TraceResult:
    """y = sigmoid(w2 relu(w1 x + b1) + b2), L = -log(y), differentiated on paper."""
    x, w1, b1, w2, b2 = 2.0, 0.5, 0.1, 0.3, 0.2
    z1 = w1 * x + b1
    h1 = max(z1, 0.0)
    z2 = w2 * h1 + b2
    y = 1 / (1 + math.exp(-z2))
    dy = -1 / y
    dz2 = dy * y * (1 - y)
    dh1 = dz2 * w2
    rows = [
        ("x", "input", "", x, dh1 * w1, f"dL/dx = dL/dw1x * w1 = {dh1:.4g} * {w1} = {dh1 * w1:.4g}"),
        ("w1", "parameter", "", w1, dh1 * x, f"dL/dw1 = dL/dw1x * x = {dh1:.4g} * {x} = {dh1 * x:.4g}"),
        ("w1x", "arithmetic:multiply", "w1 x", w1 * x, dh1, f"dL/dw1x = dL/dz1 = {dh1:.4g}"),
        ("b1", "parameter", "", b1, dh1, f"dL/db1 = dL/dz1 = {dh1:.4g}"),
        ("z1", "arithmetic:add", "w1x b1", z1, dh1, f"dL/dz1 = dL/dh1 * 1[z1 > 0] = {dh1:.4g} * 1 = {dh1:.4g}"),
        ("h1", "elementwise:relu", "z1", h1, dh1, f"dL/dh1 = dL/dw2h1 * w2 = {dz2:.4g} * {w2} = {dh1:.4g}"),
        ("w2", "parameter", "", w2, dz2 * h1, f"dL/dw2 = dL/dw2h1 * h1 = {dz2:.4g} * {h1:.4g} = {dz2 * h1:.4g}"),
        ("w2h1", "arithmetic:multiply", "w2 h1", w2 * h1, dz2, f"dL/dw2h1 = dL/dz2 = {dz2:.4g}"),
        ("b2", "parameter", "", b2, dz2, f"dL/db2 = dL/dz2 = {dz2:.4g}"),
        (
            "z2",
            "arithmetic:add",
            "w2h1 b2",
            z2,
            dz2,
            f"dL/dz2 = dL/dy * y * (1 - y) = {dy:.4g} * {y * (1 - y):.4g} = {dz2:.4g}",
        ),
        ("y", "elementwise:sigmoid", "z2", y, dy, f"dL/dy = -1/y = {dy:.4g}"),
    ]
    values = [
        value(name, operation, inputs.split(), np.float64(forward).reshape(()), np.float64(gradient).reshape(()), rule)
        for name, operation, inputs, forward, gradient, rule in rows
    ]
    values.append(value("target", "target", [], np.float64([1.0]), None, "A target has no gradient."))
    flow = Flow(verdict=Flow.VERDICT_HEALTHY, factor_per_layer=0.3)
    return trace(-math.log(y), values, flow)


def sigmoid_layers(layers: int, width: int = 6, residual: bool = False, seed: int = 0) -> gs.TraceResult:
    """A repeated block of dense and sigmoid (or of the same around a skip connection), mean square at the end."""
    random = np.random.default_rng(seed)
    x = random.normal(size=(4, width)).astype(np.float32)
    kernels = [
        random.normal(size=(width, width)).astype(np.float32) / np.float32(math.sqrt(width)) for _ in range(layers)
    ]
    before, after = [], []
    h = x
    for kernel in kernels:
        before.append(h)
        sigmoid = (1 / (1 + np.exp(-(h @ kernel)))).astype(np.float32)
        after.append(sigmoid)
        h = (h + 0.1 * sigmoid if residual else sigmoid).astype(np.float32)
    loss = float(np.mean(h**2))
    gradient = (2 * h / h.size).astype(np.float32)
    rows: list[list[service_pb2.TracedValue]] = []
    for layer in reversed(range(layers)):
        at = f"layers/{layer}"
        last = f"layers/{layer - 1}/{'add' if residual else 'sigmoid'}" if layer else "x"
        row = []
        inward = np.float32(0.1) * gradient if residual else gradient
        of_dense = inward * after[layer] * (1 - after[layer])
        of_kernel = before[layer].T @ of_dense
        rule = f"dL/d{at}/dense = dL/d{at}/sigmoid * sigmoid'(dense)"
        row.append(
            value(
                f"{at}/dense/kernel",
                "parameter",
                [],
                kernels[layer],
                of_kernel,
                f"dL/d{at}/dense/kernel = x^T dL/d{at}/dense",
            )
        )
        row.append(
            value(f"{at}/dense", "dense", [last, f"{at}/dense/kernel"], before[layer] @ kernels[layer], of_dense, rule)
        )
        row.append(value(f"{at}/sigmoid", "elementwise:sigmoid", [f"{at}/dense"], after[layer], inward))
        if residual:
            row.append(value(f"{at}/add", "arithmetic:add", [last, f"{at}/sigmoid"], h, gradient))
        rows.insert(0, row)
        gradient = of_dense @ kernels[layer].T + (gradient if residual else 0)
    values = [value("x", "input", [], x, gradient), *(one for row in rows for one in row)]
    verdict = Flow.VERDICT_HEALTHY if residual else Flow.VERDICT_VANISHING
    flow = Flow(verdict=verdict, factor_per_layer=1.02 if residual else 0.21)
    if not residual:
        flow.places[:] = [f"layers/{layers - 8}/dense"]
        flow.advice[:] = [
            "Replace sigmoid by relu or gelu: the derivative of a sigmoid is at most 1/4.",
            "Add skip connections (gs.residual), so that gradients have a way around each layer.",
            "Normalize each layer's input (gs.layer_normalization).",
        ]
    return trace(loss, values, flow)

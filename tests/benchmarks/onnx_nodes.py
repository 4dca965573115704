"""How long it takes to parse, trace and lower the gradients of an ONNX model, over its number of nodes."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator

import jax
import numpy as np
import onnx
from onnx import helper, numpy_helper

import gradserve as gs
from gradserve_server.common.specs import ArraySpec, Limits, ProgramSpec
from gradserve_server.common.specs import NetworkSource as Source
from gradserve_server.compute import program
from gradserve_server.compute.frontends.onnx import load_network
from gradserve_server.compute.losses import load_loss
from gradserve_server.compute.lowering import lower
from tests.benchmarks.row import Row

NAME = "onnx_nodes"
NODES, ROUNDS, WIDTH = (250, 500, 1000, 2000), 3, 16
TARGET = 1.5


def measure_onnx_nodes(only: str) -> Iterator[Row]:
    """Time of a node in models of each size, by that in the smallest; the row `onnx_nodes` is of the largest."""
    if only not in NAME:
        return
    models = {nodes: model(nodes) for nodes in NODES}
    _seconds(models[NODES[0]])
    # By turns, so that what else the machine does meets all of them.
    rounds = [[_seconds(models[nodes]) / nodes for nodes in NODES] for _ in range(ROUNDS)]
    first, *others = (1e3 * statistics.median(column) for column in zip(*rounds, strict=True))
    for nodes, found in zip(NODES[1:], others, strict=True):
        largest = nodes == NODES[-1]
        yield Row(NAME if largest else f"{NAME}_{nodes}", found, "ms", first, TARGET if largest else None)


def model(nodes: int) -> bytes:
    """Layers of five nodes, as an exporter writes them: product, sum, activation, and the same again around them."""
    made, weights, value = [], [], "x"
    for index in range(nodes // 5):
        names = [f"{index}/{part}" for part in ("product", "sum", "active", "scaled", "out")]
        kernel, bias = (f"{index}/{part}" for part in ("kernel", "bias"))
        weights += [
            numpy_helper.from_array(np.eye(WIDTH, dtype="float32"), kernel),
            numpy_helper.from_array(np.zeros(WIDTH, "float32"), bias),
        ]
        made += [
            helper.make_node("MatMul", [value, kernel], names[:1]),
            helper.make_node("Add", [names[0], bias], names[1:2]),
            helper.make_node("Relu", [names[1]], names[2:3]),
            helper.make_node("Mul", [names[2], bias], names[3:4]),
            helper.make_node("Add", [names[3], value], names[4:5]),
        ]
        value = names[4]
    forms = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["N", WIDTH]) for name in ("x", value)]
    graph = helper.make_graph(made, "layers", forms[:1], forms[1:], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)]).SerializeToString()


def _seconds(content: bytes) -> float:
    """Of the processor, from bytes to what XLA takes; all of it is one thread."""
    limits = Limits()
    spec = ProgramSpec(
        kind="gradients",
        network=Source("onnx", content),
        loss=gs.output_loss(reduction="sum").to_bytes(),
        batch=(ArraySpec("x", "float32", (8, WIDTH)),),
        weights=(),
        own_weights=True,
    )
    with jax.enable_x64(True):
        start = time.process_time()
        network = load_network(content, limits)
        lower(program.build(spec, network, load_loss(spec.loss, limits)))
        return time.process_time() - start

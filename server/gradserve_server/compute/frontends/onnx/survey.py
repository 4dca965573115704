"""All that a refused model has and the server has not, found in its message without reading any tensor."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import onnx
from onnx import AttributeProto

from gradserve_server.compute.frontends.onnx.reading import READ_KINDS, domain_of, kind_name, opsets_of
from gradserve_server.compute.frontends.onnx.resolution import listed, operator_name, standard


def unsupported_parts(message: onnx.ModelProto) -> str:
    """Operators, external and sparse tensors and kinds of attributes that are not served, with their places."""
    missing: dict[str, list[str]] = {}
    functions = {(domain_of(one.domain), one.name, one.overload) for one in message.functions}
    opsets: Mapping[str, int] = opsets_of(message.opset_import)
    own = [(one.node, {**opsets, **opsets_of(one.opset_import)}) for one in message.functions]
    waiting: list[tuple[onnx.GraphProto, Mapping[str, int]]] = [(message.graph, opsets)]
    while waiting or own:
        if waiting:
            graph, opsets = waiting.pop()
            nodes = graph.node
            for what, name in _tensors(graph):
                missing.setdefault(what, []).append(name)
        else:
            nodes, opsets = own.pop()
        for node in nodes:
            place = node.name or next(filter(None, node.output), "") or node.op_type
            domain = domain_of(node.domain)
            if (domain, node.op_type, node.overload) not in functions and standard(
                domain, node.op_type, opsets
            ) is None:
                missing.setdefault(operator_name(domain, node.op_type, opsets), []).append(place)
            for one in node.attribute:
                if one.type == AttributeProto.GRAPH:
                    waiting.append((one.g, opsets))
                elif one.type == AttributeProto.TENSOR and _is_outside(one.t):
                    missing.setdefault("external data", []).append(place)
                elif not one.ref_attr_name and one.type not in (*READ_KINDS, AttributeProto.TENSOR):
                    missing.setdefault(f"attribute of kind {kind_name(one.type)}", []).append(place)
    return listed(missing)


def _tensors(graph: onnx.GraphProto) -> Iterator[tuple[str, str]]:
    for tensor in graph.initializer:
        if _is_outside(tensor):
            yield "external data", tensor.name
    for sparse in graph.sparse_initializer:
        yield "sparse initializer", sparse.values.name


def _is_outside(tensor: onnx.TensorProto) -> bool:
    return tensor.data_location == onnx.TensorProto.EXTERNAL or len(tensor.external_data) > 0

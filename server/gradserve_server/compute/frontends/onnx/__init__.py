"""ONNX: a serialized ``ModelProto`` or ONNX text in, `Network` out."""

from gradserve_server.compute.frontends.onnx.network import OnnxNetwork, load_network
from gradserve_server.compute.frontends.onnx.operators import names_of_operators

__all__ = ["OnnxNetwork", "load_network", "names_of_operators"]

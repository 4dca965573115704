"""Windows as the contract writes them."""

from __future__ import annotations

from gradserve.v1 import network_pb2
from tests.conformance.operations.oracles import Geometry


def window(geometry: Geometry) -> network_pb2.Window:
    message = network_pb2.Window(size=geometry.size, stride=geometry.stride, dilation=geometry.dilation)
    message.padding = network_pb2.Window.PADDING_SAME if geometry.same else network_pb2.Window.PADDING_VALID
    return message

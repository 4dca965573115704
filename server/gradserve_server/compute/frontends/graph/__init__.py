"""The native graph: protobuf in, `Network` out."""

from gradserve_server.compute.frontends.graph.network import GraphNetwork, load_network

__all__ = ["GraphNetwork", "load_network"]

"""Functions serialized by jax.export: bytes in, `Network` out."""

from gradserve_server.compute.frontends.stablehlo.network import StableHloNetwork, load_network

__all__ = ["StableHloNetwork", "load_network"]

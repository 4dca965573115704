"""The gradserve server: gRPC in front, JAX behind, a narrow seam between."""

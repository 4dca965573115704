"""Modules of StableHLO, read and checked without JAX, in a process of their own where they come from strangers."""

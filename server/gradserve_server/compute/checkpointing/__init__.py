"""Less memory for a backward pass: what the forward pass keeps, and what is computed again.

Works on jaxprs, so that it serves networks of every format. `checkpointed` divides a forward pass into segments, each
under `jax.checkpoint`; `RECOMPUTED_LATE` makes XLA heed them in the finished program. See docs/memory-and-precision.md.
"""

from gradserve_server.compute.checkpointing.forward import checkpointed
from gradserve_server.compute.checkpointing.order import RECOMPUTED_LATE

__all__ = ["RECOMPUTED_LATE", "checkpointed"]

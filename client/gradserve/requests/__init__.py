"""Calls as values: arguments in, bytes to send and a reader of the answer out. No input or output.

Both clients send what this package prepares, so that they cannot drift apart.
"""

from gradserve.requests.call import Call, Streamed, with_content
from gradserve.requests.computations import forward, gradients, trace
from gradserve.requests.options import Checkpointing, Mode, Precision
from gradserve.requests.products import Matrix, hessian_product, jacobian_product
from gradserve.requests.questions import describe, initialize, put_fresh, server_info

__all__ = [
    "Call",
    "Checkpointing",
    "Matrix",
    "Mode",
    "Precision",
    "Streamed",
    "describe",
    "forward",
    "gradients",
    "hessian_product",
    "initialize",
    "jacobian_product",
    "put_fresh",
    "server_info",
    "trace",
    "with_content",
]

"""gradserve: a network, weights and a batch in; the loss and its gradients out.

import gradserve as gs

net = gs.sequential(gs.dense(128), gs.relu(), gs.dense(10), x=("batch", 64))
with gs.Client("localhost:50051") as client:  # or gs.local()
    weights = client.initialize(net, seed=0)
    result = client.gradients(net, weights, {"x": x, "y": y},
                              loss=gs.softmax_cross_entropy(target="y"))
result.loss, result.gradients["dense_1/kernel"]
"""

from importlib import import_module as _import_module
from importlib.metadata import version as _version
from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any as _Any

from gradserve.allocator import keep_freed_memory
from gradserve.builder import GraphBuilder, Value
from gradserve.composition import repeat, residual, sequential
from gradserve.errors import (
    ClientClosed,
    DeadlineExceeded,
    GradserveError,
    InvalidRequest,
    LimitExceeded,
    MissingContent,
    MissingExtra,
    Overloaded,
    PermissionDenied,
    ServerFault,
    Unauthenticated,
    Unavailable,
    Unsupported,
)
from gradserve.exporting import from_jax
from gradserve.files import load, load_loss, load_onnx, onnx_text, save
from gradserve.functions import (
    absolute,
    cos,
    elu,
    erf,
    exp,
    expm1,
    gelu,
    leaky_relu,
    log,
    log1p,
    log_gamma,
    log_sigmoid,
    log_softmax,
    logical_not,
    negate,
    reduce_log_sum_exp,
    reduce_max,
    reduce_mean,
    reduce_min,
    reduce_sum,
    relu,
    rsqrt,
    sigmoid,
    sign,
    silu,
    sin,
    softmax,
    softplus,
    sqrt,
    square,
    stop_gradient,
    tanh,
)
from gradserve.initializers import (
    Initializer,
    constant_initializer,
    glorot_normal,
    glorot_uniform,
    he_normal,
    he_uniform,
    lecun_normal,
    lecun_uniform,
    normal,
    uniform,
    variance_scaling,
)
from gradserve.layers import (
    Layer,
    batch_normalization,
    convolution,
    dense,
    dropout,
    embedding,
    flatten,
    global_max_pooling,
    global_mean_pooling,
    layer_normalization,
    max_pooling,
    mean_pooling,
    reshape,
    rms_normalization,
)
from gradserve.losses import (
    Loss,
    absolute_error,
    binary_cross_entropy,
    cotangents,
    custom_loss,
    huber_loss,
    kullback_leibler_divergence,
    negative_log_likelihood,
    next_token_cross_entropy,
    output_loss,
    softmax_cross_entropy,
    squared_error,
    sum_of_losses,
)
from gradserve.network import Network, Spec, TensorInfo, spec
from gradserve.results import (
    ForwardResult,
    GradientResult,
    GradientSummary,
    MemoryPlan,
    NetworkDescription,
    ServerInfo,
    Timing,
)
from gradserve.traces import GradientFlow, TensorStatistics, TracedValue, TraceResult
from gradserve.trees import flatten_weights, unflatten_weights
from gradserve.weights import Seeded, Weights, load_weights, save_weights, seeded

if _TYPE_CHECKING:
    from gradserve.aio import AsyncClient
    from gradserve.client import Client
    from gradserve.local_server import local
    from gradserve.trace_view.page import save_trace_page, trace_page
    from gradserve.trace_view.plot import save_trace_plot, trace_plot
    from gradserve.transport.retry import RetryPolicy

__version__ = _version("gradserve")

__all__ = [
    "AsyncClient",
    "Client",
    "ClientClosed",
    "DeadlineExceeded",
    "ForwardResult",
    "GradientFlow",
    "GradientResult",
    "GradientSummary",
    "GradserveError",
    "GraphBuilder",
    "Initializer",
    "InvalidRequest",
    "Layer",
    "LimitExceeded",
    "Loss",
    "MemoryPlan",
    "MissingContent",
    "MissingExtra",
    "Network",
    "NetworkDescription",
    "Overloaded",
    "PermissionDenied",
    "RetryPolicy",
    "Seeded",
    "ServerFault",
    "ServerInfo",
    "Spec",
    "TensorInfo",
    "TensorStatistics",
    "Timing",
    "TraceResult",
    "TracedValue",
    "Unauthenticated",
    "Unavailable",
    "Unsupported",
    "Value",
    "Weights",
    "__version__",
    "absolute",
    "absolute_error",
    "batch_normalization",
    "binary_cross_entropy",
    "constant_initializer",
    "convolution",
    "cos",
    "cotangents",
    "custom_loss",
    "dense",
    "dropout",
    "elu",
    "embedding",
    "erf",
    "exp",
    "expm1",
    "flatten",
    "flatten_weights",
    "from_jax",
    "gelu",
    "global_max_pooling",
    "global_mean_pooling",
    "glorot_normal",
    "glorot_uniform",
    "he_normal",
    "he_uniform",
    "huber_loss",
    "keep_freed_memory",
    "kullback_leibler_divergence",
    "layer_normalization",
    "leaky_relu",
    "lecun_normal",
    "lecun_uniform",
    "load",
    "load_loss",
    "load_onnx",
    "load_weights",
    "local",
    "log",
    "log1p",
    "log_gamma",
    "log_sigmoid",
    "log_softmax",
    "logical_not",
    "max_pooling",
    "mean_pooling",
    "negate",
    "negative_log_likelihood",
    "next_token_cross_entropy",
    "normal",
    "onnx_text",
    "output_loss",
    "reduce_log_sum_exp",
    "reduce_max",
    "reduce_mean",
    "reduce_min",
    "reduce_sum",
    "relu",
    "repeat",
    "reshape",
    "residual",
    "rms_normalization",
    "rsqrt",
    "save",
    "save_trace_page",
    "save_trace_plot",
    "save_weights",
    "seeded",
    "sequential",
    "sigmoid",
    "sign",
    "silu",
    "sin",
    "softmax",
    "softmax_cross_entropy",
    "softplus",
    "spec",
    "sqrt",
    "square",
    "squared_error",
    "stop_gradient",
    "sum_of_losses",
    "tanh",
    "trace_page",
    "trace_plot",
    "unflatten_weights",
    "uniform",
    "variance_scaling",
]

# Loaded when they are first used: whoever wants the messages of gradserve.v1 alone, such as a
# process that only computes, is spared gRPC and its threads.
_LAZY = {
    "AsyncClient": "gradserve.aio",
    "Client": "gradserve.client",
    "RetryPolicy": "gradserve.transport.retry",
    "local": "gradserve.local_server",
    "save_trace_page": "gradserve.trace_view.page",
    "save_trace_plot": "gradserve.trace_view.plot",
    "trace_page": "gradserve.trace_view.page",
    "trace_plot": "gradserve.trace_view.plot",
}


def __getattr__(name: str) -> _Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'gradserve' has no attribute {name!r}")
    value = getattr(_import_module(_LAZY[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(_LAZY))

"""Values that a graph holds itself: parameters and constants."""

from __future__ import annotations

import math

import jax.numpy as jnp
import numpy as np

from gradserve.v1 import network_pb2
from gradserve_server.common.errors import Problem, Reason
from gradserve_server.common.specs import describe
from gradserve_server.compute.frontends.graph.call import Call, Value
from gradserve_server.compute.frontends.graph.table import operation
from gradserve_server.compute.frontends.graph.tensors import read_tensor
from gradserve_server.compute.initializers import ZEROS


@operation("parameter", inputs=0)
def parameter(call: Call[network_pb2.Parameter]) -> Value:
    """A free parameter, named as its node."""
    shape = tuple(call.attributes.shape)
    if any(size < 1 for size in shape) or len(shape) > call.scope.limits.axes:
        raise call.refuse("shape", "not a shape", given=describe("", shape), expected="sizes of at least 1")
    return call.parameter("", shape, ZEROS, call.attributes.initializer)


@operation("constant", inputs=0)
def constant(call: Call[network_pb2.Constant]) -> Value:
    """A fixed tensor, or a number that takes the type of what it is combined with."""
    match call.attributes.WhichOneof("content"):
        case "number":
            if not math.isfinite(call.attributes.number):
                raise call.refuse("number", "not a finite number", given=str(call.attributes.number))
            return float(call.attributes.number)
        case "value":
            array: np.ndarray = read_tensor(call.attributes.value, f"{call.node.field}.value", call.scope.limits)
            return jnp.asarray(array)
        case _:
            raise Problem(
                Reason.MISSING_FIELD,
                "a constant needs a value",
                field=call.node.field,
                expected="value or number",
            )

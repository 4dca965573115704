"""A loss in two parts: its definition, and the numbers in it that may change with every request.

A caller who sends another cotangent, or another weight of a term, with each request has one program compiled and not
one for each: what is a definition is part of the program's key, and what is a number travels beside the batch.
"""

from __future__ import annotations

import math

import numpy as np

from gradserve.v1 import loss_pb2
from gradserve_server.common.errors import Problem, Reason
from gradserve_server.common.specs import TERM_WEIGHTS
from gradserve_server.front.tensors import Array, read_tensor


def read_loss(loss: loss_pb2.Loss, most_bytes: int) -> tuple[bytes, dict[str, Array]]:
    """The bytes of the loss's definition, and the arrays in it by their place in the request, in order of name.

    Takes the arrays out of `loss`: they do not count as definition, and need not be copied to be left out.

    Raises:
        Problem: a tensor does not agree with itself, or the definition is too large.
    """
    vectors = _take_vectors(loss, "loss")
    content = loss.SerializeToString(deterministic=True)
    check_size(content, "loss", most_bytes)
    # An empty message would be no loss at all; the worker says what is missing in this one.
    content = content or loss_pb2.Loss(reduction=loss_pb2.Loss.REDUCTION_MEAN).SerializeToString()
    return content, dict(sorted(vectors.items()))


def check_size(content: bytes, field: str, most_bytes: int) -> None:
    """Refuses a definition of more than `most_bytes`."""
    if len(content) > most_bytes:
        raise Problem(
            Reason.TOO_LARGE,
            "the definition is too large",
            field=field,
            given=f"{len(content)} bytes",
            expected=f"at most {most_bytes} bytes",
            metadata={"needed_bytes": str(len(content)), "limit_bytes": str(most_bytes)},
        )


def _take_vectors(loss: loss_pb2.Loss, field: str) -> dict[str, Array]:
    vectors: dict[str, Array] = {}
    match loss.WhichOneof("formula"):
        case "cotangents":
            by_output = loss.cotangents.by_output
            for name in by_output:
                place = f"{field}.cotangents.by_output.{name}"
                vectors[place] = read_tensor(by_output[name], place)
                by_output[name].Clear()
        case "sum":
            for index, term in enumerate(loss.sum.terms):
                vectors |= _take_vectors(term.loss, f"{field}.sum.terms[{index}].loss")
            if any(_is_factor(term) for term in loss.sum.terms):
                vectors[f"{field}.{TERM_WEIGHTS}"] = _take_weights(loss.sum)
    return vectors


def _take_weights(message: loss_pb2.Loss.Sum) -> Array:
    """The weights of all terms.

    A weight of 0 stays in the definition: its term is not differentiated. So does one that is no number, to be refused.
    """
    weights = np.ones(len(message.terms), np.float64)
    for index, term in enumerate(message.terms):
        if _is_factor(term):
            weights[index] = term.weight
            term.ClearField("weight")
    return weights


def _is_factor(term: loss_pb2.Loss.Sum.Term) -> bool:
    return term.HasField("weight") and term.weight != 0 and math.isfinite(term.weight)

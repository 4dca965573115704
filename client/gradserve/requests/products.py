"""Products with derivatives: of the Jacobian of the outputs, of the Hessian of the loss."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

from gradserve.losses import Loss
from gradserve.network import Network
from gradserve.requests.call import Call, Form
from gradserve.requests.content import IsHeld, batch_arrays, call_of, like_weights, loss_field, nothing_held, tensors_of
from gradserve.requests.options import Checkpointing, Mode, Precision, choice, options_field, parts_of
from gradserve.results import (
    HessianProduct,
    JacobianProduct,
    hessian_product_of,
    jacobian_product_of,
    read_hessian_product,
    read_jacobian_product,
)
from gradserve.tensors import ArrayLike, message_bytes
from gradserve.v1 import gradient_service_pb2 as service_pb2
from gradserve.weights import Weights
from gradserve.wire import Piece

Matrix = Literal["hessian", "gauss_newton"]

_MATRICES: dict[Any, service_pb2.ComputeHessianProductRequest.Matrix] = {
    "hessian": service_pb2.ComputeHessianProductRequest.MATRIX_HESSIAN,
    "gauss_newton": service_pb2.ComputeHessianProductRequest.MATRIX_GAUSS_NEWTON,
}

_Jacobian = service_pb2.ComputeJacobianProductRequest
_Hessian = service_pb2.ComputeHessianProductRequest

_JACOBIAN_FORM = Form(
    "ComputeJacobianProduct",
    read_jacobian_product,
    "compute_jacobian_product",
    service_pb2.ComputeJacobianProductResponse,
    jacobian_product_of,
)
_HESSIAN_FORM = Form(
    "ComputeHessianProduct",
    read_hessian_product,
    "compute_hessian_product",
    service_pb2.ComputeHessianProductResponse,
    hessian_product_of,
)


def jacobian_product(
    network: Network,
    weights: Weights | None,
    batch: Mapping[str, ArrayLike],
    *,
    weight_tangents: Mapping[str, ArrayLike] | None = None,
    input_tangents: Mapping[str, ArrayLike] | None = None,
    mode: Mode | None = None,
    seed: int = 0,
    precision: Precision | None = None,
    micro_batches: int | None = None,
    is_held: IsHeld = nothing_held,
) -> Call[JacobianProduct]:
    """ComputeJacobianProduct; arguments as `Client.jacobian_product`, and which networks the server holds."""
    tensors = tensors_of(network, weights, batch, is_held)
    of_inputs = batch_arrays(input_tangents or {}, network, tensors.is_double, "input_tangents")
    of_weights = like_weights(weight_tangents or {}, tensors, "weight_tangents")
    tensors = replace(
        tensors,
        tangents=(
            (_Jacobian.WEIGHT_TANGENTS_FIELD_NUMBER, of_weights),
            (_Jacobian.INPUT_TANGENTS_FIELD_NUMBER, of_inputs),
        ),
    )
    how = (mode, precision, None, parts_of(micro_batches), False)
    return call_of(_JACOBIAN_FORM, tensors, [options_field(_Jacobian.OPTIONS_FIELD_NUMBER, how, seed)], (how,))


def hessian_product(
    network: Network,
    weights: Weights | None,
    batch: Mapping[str, ArrayLike],
    vector: Mapping[str, ArrayLike],
    *,
    loss: Loss,
    matrix: Matrix = "hessian",
    mode: Mode | None = None,
    seed: int = 0,
    precision: Precision | None = None,
    loss_scale: float | None = None,
    checkpointing: Checkpointing | None = None,
    micro_batches: int | None = None,
    is_held: IsHeld = nothing_held,
) -> Call[HessianProduct]:
    """ComputeHessianProduct; arguments as `Client.hessian_product`, and which networks the server holds."""
    tensors = tensors_of(network, weights, batch, is_held)
    along = like_weights(vector, tensors, "vector")
    tensors = replace(tensors, tangents=((_Hessian.VECTOR_FIELD_NUMBER, along),))
    rest = message_bytes(_Hessian(matrix=choice(_MATRICES, matrix, "matrix")))
    how = (mode, precision, checkpointing, parts_of(micro_batches), False)
    tail: list[Piece] = [
        loss_field(loss, _Hessian.LOSS_FIELD_NUMBER),
        rest,
        options_field(_Hessian.OPTIONS_FIELD_NUMBER, how, seed, loss_scale),
    ]
    return call_of(_HESSIAN_FORM, tensors, tail, (loss.form, rest, how))

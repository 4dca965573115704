"""Products of matrices."""

from __future__ import annotations

import jax.numpy as jnp

from gradserve_server.compute.frontends.onnx.call import Call
from gradserve_server.compute.frontends.onnx.table import Value, operator


@operator("MatMul", 1, 9, 13)
def matmul(call: Call) -> Value:
    return jnp.matmul(call.input(0), call.input(1))


@operator("Gemm", 6, 7, 9, 11, 13)
def gemm(call: Call) -> Value:
    a, b = call.input(0), call.input(1)
    a = a.T if call.attribute("transA", 0) else a
    b = b.T if call.attribute("transB", 0) else b
    y = jnp.matmul(a, b)
    alpha, beta = call.attribute("alpha", 1.0), call.attribute("beta", 1.0)
    if alpha != 1:
        y = (alpha * y).astype(y.dtype)
    c = call.optional(2)
    if c is None:
        return y
    if beta != 1:
        c = (beta * c).astype(y.dtype)
    return y + c


@operator("Einsum", 12, 28)
def einsum(call: Call) -> Value:
    equation = call.attribute("equation")
    if len(equation) > 1000:
        raise call.refuse("the equation is too long", given=f"{len(equation)} characters")
    return jnp.einsum(equation.replace(" ", ""), *call.all_inputs())


@operator("Det", 11, 22)
def determinant(call: Call) -> Value:
    return jnp.linalg.det(call.input(0))

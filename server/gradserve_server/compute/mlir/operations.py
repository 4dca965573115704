"""The operations and custom calls that a module may hold: a short list of our own.

An artifact says of itself which calls are safe, and its sender can have it say so of any: what runs in the server is
decided here. A custom call is native code that trusts its shapes and attributes, so those are checked too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

Shape = tuple[int, ...]
Letters = Mapping[str, int]

STRUCTURE = frozenset({"builtin.module", "func.func", "func.return", "func.call"})

_STABLEHLO = """
    abs add and atan2 batch_norm_grad batch_norm_inference batch_norm_training bitcast_convert broadcast
    broadcast_in_dim case cbrt ceil cholesky clamp compare complex composite concatenate constant convert convolution
    cosine count_leading_zeros divide dot dot_general dynamic_broadcast_in_dim dynamic_conv dynamic_gather dynamic_iota
    dynamic_pad dynamic_reshape dynamic_slice dynamic_update_slice einsum exponential exponential_minus_one fft floor
    gather get_dimension_size if imag iota is_finite log log_plus_one logistic map maximum minimum multiply negate not
    optimization_barrier or pad popcnt power real real_dynamic_slice reduce reduce_precision reduce_window remainder
    reshape return reverse rng_bit_generator round_nearest_afz round_nearest_even rsqrt scatter select
    select_and_scatter shift_left shift_right_arithmetic shift_right_logical sign sine slice sort sqrt subtract tan
    tanh transpose triangular_solve unary_einsum while xor
"""
# Left out: what talks to the host or other devices (infeed, send, all_reduce, ...), what is random without a seed
# (rng), tokens, tuples, quantized numbers.
OPERATIONS = STRUCTURE | {f"stablehlo.{name}" for name in _STABLEHLO.split()} | {"stablehlo.custom_call"}

# Functions of JAX that StableHLO has no operation for; each comes with its own definition.
COMPOSITES = "chlo."


# Sides, triangles, transpositions and diagonals as LAPACK writes them.
_LETTERS = {"side": "LR", "uplo": "LU", "trans_x": "NTC", "diag": "NU"}
_LEFT = ord("L")


def _square(shape: Shape) -> bool:
    return len(shape) >= 2 and shape[-1] == shape[-2]


def _cholesky(operands: Sequence[Shape], results: Sequence[Shape], _: Letters) -> bool:
    (matrix,), (factor, failed) = operands, results
    return _square(matrix) and factor == matrix and failed == matrix[:-2]


def _lu(operands: Sequence[Shape], results: Sequence[Shape], _: Letters) -> bool:
    (matrix,), (factors, pivots, failed) = operands, results
    if len(matrix) < 2 or factors != matrix or failed != matrix[:-2]:
        return False
    return pivots == (*matrix[:-2], min(matrix[-2:]))


def _pivots(operands: Sequence[Shape], results: Sequence[Shape], _: Letters) -> bool:
    (pivots,), (permutation,) = operands, results
    return pivots[:-1] == permutation[:-1] and 1 <= pivots[-1] <= permutation[-1]


def _triangular(operands: Sequence[Shape], results: Sequence[Shape], letters: Letters) -> bool:
    (matrix, right), (solution,) = operands, results
    if not _square(matrix) or solution != right or len(right) != len(matrix) or right[:-2] != matrix[:-2]:
        return False
    return matrix[-1] == right[-2 if letters["side"] == _LEFT else -1]


def _assertion(operands: Sequence[Shape], results: Sequence[Shape], _: Letters) -> bool:
    return all(shape == () for shape in operands) and not results


Rule = Callable[[Sequence[Shape], Sequence[Shape], Letters], bool]


class CustomCall:
    """A custom call that may run.

    Attributes:
        fits: whether operands and results have shapes that the native code can take.
        types: element types that they may have.
        letters: attributes that it needs, each with the characters that it can be.
    """

    def __init__(self, fits: Rule, types: Sequence[str], letters: Sequence[str] = ()) -> None:
        self.fits = fits
        self.types = frozenset(types)
        self.letters = {name: frozenset(map(ord, _LETTERS[name])) for name in letters}


CUSTOM_CALLS: Mapping[str, CustomCall] = {
    # Taken out by JAX before anything is compiled.
    "shape_assertion": CustomCall(_assertion, ("i1", "i32", "i64")),
    **{
        f"lapack_{letter}{name}_ffi": CustomCall(rule, (of, "i32"), letters)
        for letter, of in (("s", "f32"), ("d", "f64"))
        for name, rule, letters in (
            ("potrf", _cholesky, ("uplo",)),
            ("getrf", _lu, ()),
            ("trsm", _triangular, ("side", "uplo", "trans_x", "diag")),
        )
    },
    "cusolver_potrf_ffi": CustomCall(_cholesky, ("f32", "f64", "i32")),
    "cusolver_getrf_ffi": CustomCall(_lu, ("f32", "f64", "i32")),
    "cu_lu_pivots_to_permutation": CustomCall(_pivots, ("i32",)),
}

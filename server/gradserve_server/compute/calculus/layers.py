"""Layers with parameters, normalization and pooling."""

from __future__ import annotations

from gradserve_server.common.tracing import Term
from gradserve_server.compute.calculus.terms import SAME, Rule, rule, words

_EXAMPLES = "the sum runs over examples and positions"


def dense(*, scalars: bool) -> Rule:
    """Y = x W + b."""
    if scalars:
        return rule(x="{d} * {kernel}", kernel="{d} * {x}", bias="{d}")
    terms = words(x="{d} @ {kernel}^T") | words("added up over examples and positions", kernel="{x}^T @ {d}")
    return terms | words(_EXAMPLES, bias="sum({d})")


def convolution(*, transposed: bool) -> Rule:
    """Cross-correlation of x with a kernel, or its transpose; plus a bias."""
    back = "cross-correlated with {kernel}" if transposed else "convolved with {kernel}, the transpose of what made {y}"
    return (
        words(x=f"{{d}} {back}")
        | words(_EXAMPLES, kernel="sum({x} at each place of the window * {d})")
        | words(_EXAMPLES, bias="sum({d})")
    )


def embedding() -> Rule:
    """Rows of a table that indices name."""
    return words(table="{d} added up in the rows that {indices} names, else 0")


def normalization(kind: str, epsilon: float, *, scale: bool, fixed: bool = False) -> Rule:
    """(x - mean) / deviation over some axes, then scale and bias.

    Source: Ioffe and Szegedy, "Batch normalization", 2015, section 3; the others differ in their axes only.

    Args:
        kind: layer, rms, group or batch.
        epsilon: added to the variance.
        scale: whether there is a scale.
        fixed: whether mean and variance are stored numbers, through which nothing flows.
    """
    g = "{d} * {scale}" if scale else "{d}"
    over = {
        "layer": "over the last axis",
        "rms": "over the last axis",
        "group": "over space and the channels of a group",
        "batch": "over examples and space",
    }[kind]
    if kind == "rms":
        where = f"with g = {g}, n = {{x}} / r, r = sqrt(mean({{x}}^2) + {epsilon:g}), each {over}"
        x = "(g - n * mean(g * n)) / r"
    elif fixed:
        where = f"with n = ({{x}} - mean) / s, s = sqrt(variance + {epsilon:g}), of the stored mean and variance"
        x = f"{g} / s"
    else:
        where = f"with g = {g}, n = ({{x}} - mean({{x}})) / s, s = sqrt(variance({{x}}) + {epsilon:g}), each {over}"
        x = "(g - mean(g) - n * mean(g * n)) / s"
    terms = words(where, x=x) | words(f"{where}; {_EXAMPLES}", scale="sum({d} * n)")
    return terms | words(_EXAMPLES, bias="sum({d})")


def pooling(function: str, *, everything: bool, elements: int) -> Rule:
    """The largest or mean of each window, or of all of space.

    Args:
        function: max or mean.
        everything: whether the one window is all of space.
        elements: of a window.
    """
    if elements == 1:
        return {"x": SAME}
    if function == "max":
        where = "equal ones share it" if everything else "added up where windows overlap"
        return words(where, x="{d} at the largest element of each window, else 0")
    if everything:
        return {"x": Term(f"{{d}} / {elements}", where="for each place")}
    where = "added up where windows overlap; at the edges by the elements that are no padding"
    return words(where, x=f"{{d}} / {elements}")

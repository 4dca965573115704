"""Attention and recurrence."""

from __future__ import annotations

from gradserve_server.compute.calculus.terms import Rule, words

# Roles are the last parts of parameters' names.
_CELLS = {
    "simple": "da(t) = dh(t) * (1 - h(t)^2), dh(t) = its part of {d} + da(t + 1) @ {recurrent_kernel}^T",
    "lstm": (
        "dc(t) = dh(t) * o * (1 - tanh(c)^2) + dc(t + 1) * f(t + 1), "
        "da(t) = [dc * g * i * (1 - i), dc * c(t - 1) * f * (1 - f), dc * i * (1 - g^2), dh * tanh(c) * o * (1 - o)], "
        "dh(t) = its part of {d} + da(t + 1) @ {recurrent_kernel}^T"
    ),
    "gru": (
        "dn = dh(t) * (1 - z) * (1 - n^2), "
        "da(t) = [dn * (h(t - 1) @ U_n + c_n) * r * (1 - r), dh * (h(t - 1) - n) * z * (1 - z), dn], "
        "db(t) = da(t) with dn * r for dn, "
        "dh(t) = its part of {d} + dh(t + 1) * z(t + 1) + db(t + 1) @ {recurrent_kernel}^T"
    ),
}


def attention(*, cross: bool, rotary: bool) -> Rule:
    """softmax(Q K^T / sqrt(head_size)) V in several heads, Q, K, V and the output each a dense layer.

    Source: Vaswani et al., "Attention is all you need", 2017, differentiated.
    """
    context = "context" if cross else "x"
    where = (
        "with, in each head, A = softmax(Q @ K^T / sqrt(head_size)), dO = {d} @ {output/kernel}^T, dV = A^T @ dO, "
        "dS = A * (dO @ V^T - sum over keys(A * (dO @ V^T))) / sqrt(head_size), dQ = dS @ K, dK = dS^T @ Q"
    )
    if rotary:
        where += ", dQ and dK turned back by the angles of their positions"
    to_query = "dQ @ {query/kernel}^T"
    to_context = "dK @ {key/kernel}^T + dV @ {value/kernel}^T"
    terms = words(where, x=to_query, context=to_context) if cross else words(where, x=f"{to_query} + {to_context}")
    for name, source in (("query", "x"), ("key", context), ("value", context)):
        letter = {"query": "Q", "key": "K", "value": "V"}[name]
        terms |= words(where, **{f"{name}/kernel": f"{{{source}}}^T @ d{letter}", f"{name}/bias": f"sum(d{letter})"})
    return terms | words(where, **{"output/kernel": "(A @ V)^T @ {d}", "output/bias": "sum({d})"})


def recurrent(cell: str, *, prefixes: tuple[str, ...]) -> Rule:
    """A cell that reads a sequence in order; with two prefixes, once from each end.

    Source: Werbos, "Backpropagation through time", 1990.

    Args:
        cell: simple, lstm or gru.
        prefixes: of the names of its parameters, one for each direction.
    """
    through = "db(t)" if cell == "gru" else "da(t)"
    terms: Rule = {}
    for prefix in prefixes:
        steps = _CELLS[cell].replace("{recurrent_kernel}", f"{{{prefix}recurrent_kernel}}")
        where = f"with, from the last step to the first, {steps}"
        terms = dict(terms) | words(
            where,
            **{
                f"{prefix}kernel": "sum over t({x}(t)^T @ da(t))",
                f"{prefix}recurrent_kernel": f"sum over t(h(t - 1)^T @ {through})",
                f"{prefix}bias": "sum over t(da(t))",
                f"{prefix}recurrent_bias": "sum over t(db(t))",
            },
        )
    both = " + ".join(f"da(t) @ {{{prefix}kernel}}^T" for prefix in prefixes)
    steps = _CELLS[cell].replace("{recurrent_kernel}", f"{{{prefixes[0]}recurrent_kernel}}")
    where = f"with, for each step t, from the last to the first, {steps}"
    return dict(terms) | words(where + ("; likewise for the other direction" if len(prefixes) > 1 else ""), x=both)
